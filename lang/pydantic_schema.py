"""Schemas of pydantic's types that say all that pydantic checks, or refuse.

Pydantic's own `model_json_schema` is silent about much of what validation demands: bounds of
dates, the scheme of a URL, whitespace stripped before a length is taken, the tag of a
discriminated union. Text generated under it could then fail to validate. `schema_of` says these
things where JSON Schema can, and raises UnsupportedConstraint with the JSON pointer where not.
Validators written in Python stay out of reach: their errors come when the value is read.

Pydantic is found at run time; nothing here imports it before a type of its own is met.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from sestina.lang import json_text
from sestina.lang.errors import ConstraintError, UnsupportedConstraint
from sestina.lang.json_schema.refs import child
from sestina.lang.readable import READABLE
from sestina.lang.typed_scalars import whole

_REFUSED = "$refused"  # a mark in a generated schema: its value says what cannot be said there

Json = dict[str, Any]
Fix = Callable[[Mapping[str, Any], Json, Any], Json]
"""(core schema, JSON Schema, configuration) -> JSON Schema"""


def schema_of(python_type: Any, prefix: str = "") -> Json:
    """The JSON Schema of a type that pydantic understands.

    Objects with declared properties take no extra keys unless they say so. Names in `$defs` begin
    with `prefix`.
    """
    try:
        pydantic = importlib.import_module("pydantic")
    except ImportError as error:
        raise UnsupportedConstraint(
            f"no JSON Schema for the type {python_type!r}; more types are known with pydantic"
        ) from error
    try:
        if hasattr(python_type, "model_json_schema"):
            schema = python_type.model_json_schema(schema_generator=_generator())
        else:
            adapter = pydantic.TypeAdapter(python_type)
            schema = adapter.json_schema(schema_generator=_generator())
    except pydantic.errors.PydanticSchemaGenerationError as error:
        raise UnsupportedConstraint(f"no JSON Schema for the type {python_type!r}") from error
    except (pydantic.errors.PydanticUserError, NameError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise UnsupportedConstraint(
            f"no JSON Schema for the type {python_type!r}: {reason}"
        ) from error
    closed: Json = _closed(schema, prefix, "")
    return closed


def parser(python_type: Any) -> Callable[[str], Any]:
    """What reads JSON text as this type, with all of pydantic's checks.

    An integer may be spelled 1.0 in JSON; where pydantic minds (in a Literal, or when strict), the
    text is read once more with plain integers.
    """
    pydantic = importlib.import_module("pydantic")
    validate: Callable[[str], Any]
    if hasattr(python_type, "model_validate_json"):
        validate = python_type.model_validate_json
    else:
        validate = pydantic.TypeAdapter(python_type).validate_json

    def read(text: str) -> Any:
        try:
            return validate(text)
        except pydantic.ValidationError:
            plain = _with_plain_integers(text)
            if plain == text:
                raise
            return validate(plain)

    return read


def _with_plain_integers(text: str) -> str:
    """The same JSON with integers written as such; the text itself where it is none."""
    try:
        value = json_text.loads(text, distinct_keys=False)
    except ConstraintError:
        return text
    return json_text.dumps(_plain_integers(value))


def _plain_integers(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain_integers(item) for key, item in value.items()}
    return whole(value)


def is_pydantic(python_type: Any) -> bool:
    """Whether this is a pydantic model or dataclass."""
    return isinstance(python_type, type) and hasattr(python_type, "__pydantic_validator__")


def is_demand(metadata: object) -> bool:
    """Whether a metadata of Annotated demands something, as `Field(gt=0)` does."""
    package = type(metadata).__module__.partition(".")[0]
    return package in ("annotated_types", "pydantic", "pydantic_core") or hasattr(
        metadata, "__get_pydantic_core_schema__"
    )


def _closed(schema: Any, prefix: str, pointer: str) -> Any:
    """A copy with closed objects, prefixed references, and what pydantic leaves out put right."""
    if isinstance(schema, list):
        return [_closed(item, prefix, child(pointer, i)) for i, item in enumerate(schema)]
    if not isinstance(schema, dict):
        return schema
    copy = dict(_closed_items(schema, prefix, pointer))
    if "properties" in copy:
        copy.setdefault("additionalProperties", False)
    kind = copy.get("format")
    if (version := re.fullmatch("uuid([1-8])", str(kind))) is not None:
        copy |= {"format": "uuid", "pattern": f"^.{{14}}{version[1]}.{{4}}[89AaBb]"}
    elif kind in _UNCHECKED_FORMATS:
        _refuse(f"the format {kind!r}", pointer, "format")
    elif kind is not None and kind in READABLE and copy.get("type") == "string":
        copy.setdefault("pattern", READABLE[kind])
    if _REFUSED in copy:
        _refuse(copy[_REFUSED], pointer, None)
    return copy


def _closed_items(schema: Json, prefix: str, pointer: str) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        below = child(pointer, key)
        if key in ("properties", "$defs") and isinstance(value, dict):
            front = prefix if key == "$defs" else ""
            inner = {front + n: _closed(sub, prefix, child(below, n)) for n, sub in value.items()}
            yield key, inner
        elif key == "$ref" and isinstance(value, str):
            yield key, value.replace("#/$defs/", f"#/$defs/{prefix}", 1)
        elif key in ("const", "enum", "default", "examples", "discriminator"):
            yield key, value
        else:
            yield key, _closed(value, prefix, below)


def _refuse(what: str, pointer: str, keyword: str | None) -> NoReturn:
    raise UnsupportedConstraint(
        f"pydantic checks {what}; not enforced yet", pointer=pointer, keyword=keyword
    )


# Formats that pydantic checks and the grammar does not.
_UNCHECKED_FORMATS = frozenset(
    (
        *("base64", "base64url", "color", "json-string", "multi-host-uri", "name-email"),
        *("directory-path", "file-path", "new-path", "socket-path"),
        *("ipv4interface", "ipv4network", "ipv6interface", "ipv6network"),
        *("ipvanyaddress", "ipvanyinterface", "ipvanynetwork"),
        "regex",  # one that Python compiles
    )
)


@functools.lru_cache(maxsize=1)
def _generator() -> Any:
    """Pydantic's generator of schemas, with the fixes below."""
    base = importlib.import_module("pydantic.json_schema").GenerateJsonSchema
    fixed = {name: _fixed(getattr(base, name), fix) for name, fix in _FIXES.items()}
    # A default that has no JSON form is only an annotation here.
    quiet = {"ignored_warning_kinds": {"skipped-choice", "non-serializable-default"}}
    return type("ExactJsonSchema", (base,), {**fixed, **quiet})


def _fixed(method: Callable[[Any, Any], Json], fix: Fix) -> Callable[[Any, Any], Json]:
    return lambda self, schema: fix(schema, method(self, schema), self._config)


def _temporal(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    """Dates and times: their bounds, "past", "naive" have no keyword. All have a UTC offset."""
    kind = core["type"]
    for key in ("gt", "ge", "lt", "le"):
        if core.get(key) is not None:
            return {_REFUSED: f"{key}={core[key]} of a {kind}"}
    if "now_op" in core:
        return {_REFUSED: f"that a {kind} is in the {core['now_op']}"}
    if core.get("tz_constraint", "aware") != "aware":
        return {_REFUSED: f"the time zone of a {kind}"}
    return schema


def _decimal(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    """A number, never a string; numbers of digits have no keyword."""
    for key in ("max_digits", "decimal_places"):
        if core.get(key) is not None:
            return {_REFUSED: f"{key} of a Decimal"}
    number: Json = schema["anyOf"][0]
    return number


def _text(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    """Text is changed before it is checked when pydantic strips or folds it."""
    pattern = core.get("pattern")
    if isinstance(pattern, re.Pattern) and pattern.flags & ~re.UNICODE:
        return {_REFUSED: "a pattern with flags"}
    is_checked = {"minLength", "maxLength", "pattern"} & schema.keys()
    for key in ("to_lower", "to_upper"):
        if is_checked and core.get(key, getattr(config, f"str_{key}")):
            return {_REFUSED: f"a string after {key}"}
    strips = core.get("strip_whitespace", config.str_strip_whitespace)
    if strips and schema.get("minLength"):
        if "pattern" in schema:
            return {_REFUSED: "a pattern and a length after strip_whitespace"}
        return {**schema, "pattern": r"^\S$|^\S[\s\S]*\S$"}
    if strips and "pattern" in schema:
        return {_REFUSED: "a pattern after strip_whitespace"}
    return schema


def _dict(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    keys = core.get("keys_schema", {"type": "any"})["type"]
    if keys in ("str", "any") or "propertyNames" in schema or "patternProperties" in schema:
        return schema
    return {_REFUSED: f"keys of type {keys}"}


def _set(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    """Items that occur twice are merged, so only a minimal number needs distinct ones."""
    if schema.get("minItems", 0) > 1:
        return {_REFUSED: "a minimal number of distinct items"}
    return {key: value for key, value in schema.items() if key != "uniqueItems"}


def _tagged_union(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    """The tag is needed even where it has a default, and decides which choice is meant."""
    tag = schema.get("discriminator", {}).get("propertyName")
    if tag is None:
        return schema
    choices = [
        {**choice, "required": [*choice.get("required", ()), tag]} for choice in schema["oneOf"]
    ]
    return {"anyOf": choices}


def _url(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    """With given schemes: plain host names, which every reader of URLs takes."""
    schemes = core.get("allowed_schemes")
    if not schemes:
        return schema
    label = "[a-z0-9]+(?:-[a-z0-9]+)*"
    host = rf"(?:{label}\.)*[a-z]+"
    scheme = "|".join(map(re.escape, schemes))
    return {**schema, "pattern": rf"^(?:{scheme})://{host}(?:[/?#]|$)"}


def _uuid(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    version = core.get("version")
    return {**schema, "format": f"uuid{version}"} if version else schema


def _field(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    alias = core.get("validation_alias")
    paths = [alias] if isinstance(alias, list) and isinstance(alias[0], str) else alias
    if isinstance(paths, list) and all(len(path) > 1 for path in paths):
        return {_REFUSED: "a field at an AliasPath"}
    return schema


def _json_in_text(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    return {_REFUSED: "JSON inside a string"}


def _no_json(core: Mapping[str, Any], schema: Json, config: Any) -> Json:
    return {_REFUSED: f"a value of kind {core['type']}"}


_FIXES: Mapping[str, Fix] = MappingProxyType(
    {
        **dict.fromkeys(
            ("date_schema", "datetime_schema", "time_schema", "timedelta_schema"), _temporal
        ),
        **dict.fromkeys(("set_schema", "frozenset_schema"), _set),
        **dict.fromkeys(
            ("model_field_schema", "dataclass_field_schema", "typed_dict_field_schema"), _field
        ),
        "decimal_schema": _decimal,
        "str_schema": _text,
        "dict_schema": _dict,
        "tagged_union_schema": _tagged_union,
        "url_schema": _url,
        "uuid_schema": _uuid,
        "json_schema": _json_in_text,
        **dict.fromkeys(("is_subclass_schema", "complex_schema"), _no_json),
    }
)
