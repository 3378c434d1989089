"""Constraints: what the user demands of a generated text, as plain values.

A constraint is its source text and options, nothing else: frozen, hashable, equal by value and safe
to read from a network. Constructing one lowers it once, so that a mistake raises on the user's own
line; `to_grammar` gives the language (`sestina.lang.grammar_ir`) that a runtime enforces. The
lowered form is kept in a bounded cache beside the values, never inside them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

from sestina.lang import grammar_ir as ir
from sestina.lang import json_schema as schemas
from sestina.lang import json_text, regex_syntax, typed
from sestina.lang.errors import InvalidConstraint, UnsupportedConstraint

MAX_CHOICES = 100_000


@dataclass(frozen=True, slots=True)
class Constraint:
    """Base of all constraints. Subclasses give `kind` and lower themselves in `_lower`."""

    kind: ClassVar[str] = ""

    def to_grammar(self) -> ir.Grammar:
        """The language; raises a ConstraintError. Cached, so that asking twice costs nothing."""
        return _lowered(self)

    def to_data(self) -> dict[str, Any]:
        """JSON-ready data; `from_data` reads it back."""
        data: dict[str, Any] = {"kind": self.kind}
        for f in fields(self):
            value = getattr(self, f.name)
            data[f.name] = list(value) if isinstance(value, tuple) else value
        return data

    def _lower(self) -> ir.Grammar:
        raise NotImplementedError(f"{type(self).__name__} does not lower itself")


@dataclass(frozen=True, slots=True)
class Regex(Constraint):
    """The whole text matches `pattern`; see `sestina.lang.regex_syntax` for what is understood."""

    kind: ClassVar[str] = "regex"
    pattern: str

    def __post_init__(self) -> None:
        _require_text(self.pattern, "a regex")
        self.to_grammar()

    def _lower(self) -> ir.Grammar:
        return ir.Grammar(regex_syntax.lower(self.pattern))


@dataclass(frozen=True, slots=True)
class JsonSchema(Constraint):
    """The text is a JSON value that is valid under a schema.

    Every keyword of draft 2020-12 (and its older spellings) is enforced or refused with its place;
    `sestina.lang.json_schema.keywords` has the table.

    source: the schema as canonical JSON text, keys in the user's order.
    lenient: whether keywords that cannot be enforced are dropped; otherwise they raise.
    registry: what references out of the schema may lead to, as pairs of URI and JSON text.
    whitespace: "spaced" (an optional space after `,` and `:`), "compact", "any", "any(n)" (up to n
        whitespace characters wherever JSON allows some, 20 for "any") or "indent(n)" (the layout
        of json.dumps(indent=n)). No whitespace before or after the value.
    property_order: "declared" (declared properties in their order, then all others in any order)
        or "any" (every order, of objects with a limited number of properties).
    """

    kind: ClassVar[str] = "json_schema"
    source: str
    whitespace: str = "spaced"
    property_order: str = "declared"
    registry: tuple[tuple[str, str], ...] = ()
    lenient: bool = False

    def __post_init__(self) -> None:
        _require_text(self.source, "a JSON Schema")
        _require_text(self.whitespace, "whitespace")
        _require_text(self.property_order, "property_order")
        for uri, source in self.registry:
            _require_text(uri, "a URI of the registry")
            _require_text(source, "a schema of the registry")
        self.to_grammar()

    def _lower(self) -> ir.Grammar:
        return self._lowered().grammar

    def report(self) -> schemas.Report:
        """Which keywords, at which places, are enforced, which are annotations only, and which
        were dropped because they cannot be enforced (only with `lenient`).
        """
        return self._lowered().report()

    def _lowered(self) -> schemas.Lowered:
        return schemas.lower(
            self.source, self.whitespace, self.property_order, self.registry, self.lenient
        )


@dataclass(frozen=True, slots=True)
class Choices(Constraint):
    """The text is exactly one of `options`."""

    kind: ClassVar[str] = "choices"
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.options, tuple):
            raise InvalidConstraint(f"choices must be a tuple, got {self.options!r:.80}")
        if not self.options:
            raise InvalidConstraint("choices needs at least one option")
        if len(self.options) > MAX_CHOICES:
            raise InvalidConstraint(f"{len(self.options)} choices; at most {MAX_CHOICES}")
        for option in self.options:
            _require_text(option, "a choice")
        if len(set(self.options)) < len(self.options):
            twice = next(o for o in self.options if self.options.count(o) > 1)
            raise InvalidConstraint(f"the choice {twice!r} is listed twice")

    def _lower(self) -> ir.Grammar:
        return ir.Grammar(ir.alt(ir.literal(option) for option in self.options))


@dataclass(frozen=True, slots=True)
class Grammar(Constraint):
    """The text is derived by a Lark grammar. Refused for now: no runtime enforces one yet."""

    kind: ClassVar[str] = "grammar"
    source: str

    def __post_init__(self) -> None:
        _require_text(self.source, "a grammar")
        self.to_grammar()

    def _lower(self) -> ir.Grammar:
        raise UnsupportedConstraint("Lark grammars are not supported yet", keyword="grammar")


_KINDS: Mapping[str, type[Constraint]] = MappingProxyType(
    {c.kind: c for c in (Regex, JsonSchema, Choices, Grammar)}
)


def from_data(data: Mapping[str, Any]) -> Constraint:
    """Read what `to_data` wrote, validating it as if the user had written it.

    >>> from_data(regex("[a-z]+").to_data())
    Regex(pattern='[a-z]+')
    """
    options = dict(data)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidConstraint(f"unknown kind of constraint {kind!r}; known: {sorted(_KINDS)}")
    wanted = {f.name for f in fields(_KINDS[kind])}
    if unknown := sorted(set(options) - wanted):
        raise InvalidConstraint(f"a {kind} constraint has no field {unknown[0]!r}")
    if isinstance(options.get("options"), list):
        options["options"] = tuple(options["options"])
    if isinstance(options.get("registry"), list):
        options["registry"] = tuple(map(tuple, options["registry"]))
    try:
        return _KINDS[kind](**options)
    except TypeError as error:
        raise InvalidConstraint(f"a {kind} constraint is incomplete: {error}") from error


def regex(pattern: str) -> Regex:
    """The whole text matches `pattern` (as with `re.fullmatch`)."""
    return Regex(pattern)


def json_schema(
    schema: object,
    *,
    whitespace: str = "spaced",
    property_order: str = "declared",
    registry: Mapping[str, object] = MappingProxyType({}),
    lenient: bool = False,
) -> JsonSchema:
    """The text is JSON valid under `schema`.

    A dict or bool is a schema; a str is one as JSON text; anything else is a Python type (pydantic
    model, dataclass, TypedDict, `list[int]`, ...) whose schema is derived. Extra object keys follow
    the specification for a schema (allowed unless `additionalProperties` says otherwise) and are
    never generated for a Python type.

    registry: schemas (dict, bool or JSON text) by URI, for `$ref`s that leave the schema; nothing
    is ever fetched.

    lenient: drop what cannot be enforced instead of refusing the schema; `report()` lists it.
    """
    known = tuple((uri, json_text.dumps(_schema_value(registry[uri]))) for uri in sorted(registry))
    return JsonSchema(
        json_text.dumps(_schema_value(schema)), whitespace, property_order, known, lenient
    )


def _schema_value(schema: object) -> Any:
    """A schema as JSON data, however the user gave it."""
    if isinstance(schema, str):
        return json_text.loads(schema)
    return schema if isinstance(schema, (dict, bool)) else typed.schema_of(schema)


def choices(options: Sequence[str]) -> Choices:
    """The text is exactly one of `options`."""
    if isinstance(options, str):
        raise InvalidConstraint(f"choices takes a list of strings, got the string {options!r}")
    return Choices(tuple(options))


def grammar(source: str) -> Grammar:
    """The text is derived by the Lark grammar `source`."""
    return Grammar(source)


@functools.lru_cache(maxsize=256)
def _lowered(constraint: Constraint) -> ir.Grammar:
    return constraint._lower()


def _require_text(value: object, what: str) -> None:
    """Refuse what is not a str of Unicode scalar values: it has no UTF-8 form."""
    if not isinstance(value, str):
        raise InvalidConstraint(f"{what} must be a string, got {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidConstraint(
            f"{what} holds a lone surrogate", source=value, position=error.start
        ) from None
