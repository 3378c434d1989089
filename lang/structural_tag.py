"""Structural tags as other engines write them, read as constraints.

    {"type": "structural_tag", "format": {...}}               xgrammar, and SGLang, vLLM since
    {"type": "structural_tag", "structures": [...], "triggers": [...]}     SGLang before

What a format means is what xgrammar's documentation says (docs/structural_tag); a format, or an
option of one, that is not understood exactly is refused with its JSON pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from sestina.lang import algebra, json_text
from sestina.lang.algebra import Constraint
from sestina.lang.constraint import JsonSchema, regex
from sestina.lang.errors import ConstraintError, InvalidConstraint, UnsupportedConstraint
from sestina.lang.json_schema.refs import child
from sestina.lang.structural import Special, Tag, free_text, special, tag, triggered

T = TypeVar("T")


def structural_tag(data: Mapping[str, Any] | str, *, whitespace: str = "spaced") -> Constraint:
    """A structural tag, as a dict or JSON text; whitespace: of the JSON in it, as in `json_schema`.

    >>> inner = {"type": "regex", "pattern": "[0-9]+"}
    >>> form = {"type": "tag", "begin": "<n>", "content": inner, "end": "</n>"}
    >>> structural_tag({"type": "structural_tag", "format": form}).begin
    '<n>'
    >>> structural_tag({"type": "structural_tag", "format": {"type": "any_tokens"}})
    Traceback (most recent call last):
    ...
    sestina.lang.errors.UnsupportedConstraint: the format 'any_tokens' is not supported
      at /format (JSON pointer '/format'), keyword 'type'
    """
    value = json_text.loads(data) if isinstance(data, str) else data
    json_text.check(value)
    root = _Object(value, "", whitespace)
    if root.take("type", str) != "structural_tag":
        root.fail("type must be 'structural_tag'", "type")
    if "structures" in root.data:
        return _legacy(root)
    found = _format(root.inner("format"))
    root.finish()
    found.to_grammar()  # raises here what only shows when all is put together
    return found


class _Object:
    """One object of the source; `finish` refuses the keys that nobody took."""

    def __init__(self, data: Any, pointer: str, whitespace: str) -> None:
        if not isinstance(data, Mapping):
            raise InvalidConstraint(f"an object is needed, got {data!r:.80}", pointer=pointer)
        self.data: Mapping[str, Any] = data
        self.pointer = pointer
        self.whitespace = whitespace
        self.taken: set[str] = set()

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of a key, which must be there unless there is a default."""
        self.taken.add(key)
        if key not in self.data and default is None:
            self.fail(f"{key} is missing", key)
        value = self.data.get(key, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(f"{key} must be of type {kind.__name__}, got {value!r:.80}", key)
        return value

    def maybe(self, key: str, kind: type[T]) -> T | None:
        """The value of a key that may be missing or null."""
        self.taken.add(key)
        return None if self.data.get(key) is None else self.take(key, kind)

    def texts(self, key: str, default: list[str] | None = None) -> list[str]:
        found = self.take(key, list, default)
        if not all(isinstance(text, str) for text in found):
            self.fail(f"{key} must hold strings", key)
        return found

    def inner(self, key: str) -> _Object:
        self.taken.add(key)
        return _Object(self.data.get(key), child(self.pointer, key), self.whitespace)

    def items(self, key: str) -> list[_Object]:
        found = self.take(key, list)
        place = child(self.pointer, key)
        return [_Object(each, child(place, i), self.whitespace) for i, each in enumerate(found)]

    def finish(self) -> None:
        for key in self.data:
            if key not in self.taken:
                self.refuse(f"the option {key!r} is not supported", key)

    def fail(self, message: str, key: str) -> NoReturn:
        raise InvalidConstraint(message, pointer=self.pointer, keyword=key)

    def refuse(self, message: str, key: str) -> NoReturn:
        raise UnsupportedConstraint(message, pointer=self.pointer, keyword=key)

    def located(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns; an error gets this place in front of its own."""
        try:
            return make()
        except ConstraintError as error:
            raise type(error)(
                error.reason,
                pointer=child(self.pointer, key) + (error.pointer or ""),
                keyword=error.keyword,
                source=error.source,
                position=error.position,
            ) from None


def _format(source: _Object) -> Constraint:
    kind = source.take("type", str)
    if kind not in _FORMATS:
        source.refuse(f"the format {kind!r} is not supported", "type")
    found = _FORMATS[kind](source)
    source.finish()
    return found


def _const_string(source: _Object) -> Constraint:
    return algebra.Text(source.take("value", str))


def _json_schema(source: _Object) -> Constraint:
    if (style := source.take("style", str, "json")) != "json":
        source.refuse(f"the style {style!r} is not supported", "style")
    if source.take("any_order", bool, False):
        source.refuse("any_order, which would allow missing keys, is not supported", "any_order")
    return _schema(source, "json_schema")


def _schema(source: _Object, key: str) -> Constraint:
    schema = source.take(key, object)
    if isinstance(schema, str):
        text = schema
        schema = source.located(key, lambda: json_text.loads(text))
    if not isinstance(schema, (Mapping, bool)):
        source.fail(f"{key} must be a JSON Schema, got {schema!r:.80}", key)
    return source.located(key, lambda: JsonSchema(json_text.dumps(schema), source.whitespace))


def _regex(source: _Object) -> Constraint:
    pattern = source.take("pattern", str)
    return source.located("pattern", lambda: regex(pattern))


def _any_text(source: _Object) -> Constraint:
    excludes = source.texts("excludes", [])
    limit = source.maybe("max_chars", int)
    if source.maybe("max_tokens", int) is not None:
        source.refuse("a limit in tokens is not supported; use max_chars", "max_tokens")
    return source.located("excludes", lambda: free_text(excludes=excludes, max_chars=limit))


def _elements(source: _Object, kind: type[algebra.Operation]) -> Constraint:
    parts = tuple(map(_format, source.items("elements")))
    return source.located("elements", lambda: kind(parts))


def _repeated(source: _Object, lo: int, hi: int | None) -> Constraint:
    content = _format(source.inner("content"))
    return source.located("content", lambda: content.repeat(lo, hi))


def _repeat(source: _Object) -> Constraint:
    lo, hi = source.take("min", int), source.take("max", int)
    return _repeated(source, lo, None if hi == -1 else hi)


def _token(source: _Object) -> Special:
    name = source.take("token", object)
    if not isinstance(name, str):
        source.refuse("a token by its number is not supported; give its name", "token")
    return special(name)


def _tag(source: _Object) -> Tag:
    begin = _marker(source, "begin")
    content = _format(source.inner("content"))
    end = source.data.get("end")
    ends = source.texts("end") if isinstance(end, list) else _marker(source, "end")
    return source.located("content", lambda: tag(begin, content, ends))


def _marker(source: _Object, key: str) -> str | Special:
    if isinstance(source.data.get(key), str):
        return source.take(key, str)
    inner = source.inner(key)
    if inner.take("type", str) != "token":
        inner.fail(f"{key} must be a string or a token", "type")
    found = _token(inner)
    inner.finish()
    return found


def _tags(source: _Object) -> list[Tag]:
    found = []
    for each in source.items("tags"):
        if each.take("type", str, "tag") != "tag":
            each.fail("every one of tags must be a tag", "type")
        found.append(_tag(each))
        each.finish()
    if not found:
        source.fail("there must be at least one tag", "tags")
    return found


def _triggered_tags(source: _Object) -> Constraint:
    tags, triggers = _tags(source), source.texts("triggers")
    excludes = source.texts("excludes", [])
    at_least_one = source.take("at_least_one", bool, False)
    stop_after_first = source.take("stop_after_first", bool, False)
    return source.located(
        "triggers",
        lambda: triggered(
            tags,
            triggers=triggers,
            excludes=excludes,
            at_least_one=at_least_one,
            stop_after_first=stop_after_first,
        ),
    )


def _tags_with_separator(source: _Object) -> Constraint:
    one: Constraint = algebra.AnyOf(tuple(_tags(source)))
    separator = source.take("separator", str)
    at_least_one = source.take("at_least_one", bool, False)
    if not source.take("stop_after_first", bool, False):
        one = one + (separator + one).repeat(0, None)
    return one if at_least_one else one.optional()


def _dispatch(source: _Object) -> Constraint:
    """A tag without an end for each rule: the pattern is where its format begins."""
    place = child(source.pointer, "rules")
    tags = []
    for i, rule in enumerate(source.take("rules", list)):
        if not isinstance(rule, list) or len(rule) != 2 or not isinstance(rule[0], str):
            source.fail("a rule is a list of a string and a format", "rules")
        where = child(child(place, i), 1)
        tags.append(tag(rule[0], _format(_Object(rule[1], where, source.whitespace)), ""))
    excludes = source.texts("excludes", [])
    loop = source.take("loop", bool, True)
    return source.located(
        "rules", lambda: triggered(tags, excludes=excludes, stop_after_first=not loop)
    )


def _legacy(root: _Object) -> Constraint:
    tags = []
    for each in root.items("structures"):
        begin, end = each.take("begin", str), each.take("end", str)
        tags.append(tag(begin, _schema(each, "schema"), end))
        each.finish()
    triggers = root.texts("triggers")
    root.finish()
    return root.located("triggers", lambda: triggered(tags, triggers=triggers))


_FORMATS: Mapping[str, Callable[[_Object], Constraint]] = MappingProxyType(
    {
        "any_text": _any_text,
        "const_string": _const_string,
        "dispatch": _dispatch,
        "json_schema": _json_schema,
        "optional": lambda source: _repeated(source, 0, 1),
        "or": lambda source: _elements(source, algebra.AnyOf),
        "plus": lambda source: _repeated(source, 1, None),
        "regex": _regex,
        "repeat": _repeat,
        "sequence": lambda source: _elements(source, algebra.Sequence),
        "star": lambda source: _repeated(source, 0, None),
        "tag": _tag,
        "tags_with_separator": _tags_with_separator,
        "token": _token,
        "triggered_tags": _triggered_tags,
    }
)
