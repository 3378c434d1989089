"""Which members of an `enum` the other keywords of its schema allow: an exact, small validator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sestina.lang import json_text
from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.json_formats import FORMATS
from sestina.lang.json_keywords import (
    APPLICATORS,
    REFUSED,
    Schema,
    bounds_of,
    is_vacuous,
    size,
    type_name,
    types_of,
)
from sestina.lang.json_merge import tuple_items
from sestina.lang.json_shapes import check_shape


def members(schema: Schema, pointer: str) -> list[Any]:
    """The distinct values of enum and const that satisfy the schema's other keywords.

    A `pattern` or `format` of the schema itself is left to the caller; one inside a member that is
    an object or array raises UnsupportedConstraint, as does every keyword not understood here.
    """
    values = schema.get("enum", [schema.get("const")])
    kept: list[Any] = []
    seen: set[str] = set()
    for value in values:
        spelling = json_text.dumps(value)
        if spelling not in seen and _is_valid(value, schema, pointer):
            kept.append(value)
        seen.add(spelling)
    return kept


def _is_valid(value: Any, schema: Schema, pointer: str) -> bool:
    if not _has_type(value, types_of(schema)):
        return False
    if "const" in schema and not json_text.equal(value, schema["const"]):
        return False
    return _BY_TYPE[type_name(value)](value, schema, pointer)


def _is_valid_inside(value: Any, schema: Any, pointer: str) -> bool:
    """Validity under a sub-schema, all of whose keywords must be understood here."""
    check_shape(schema, pointer)
    if isinstance(schema, bool):
        return schema
    for keyword, setting in schema.items():
        refused = keyword in APPLICATORS or keyword == "pattern"
        refused = refused or (keyword == "format" and setting in FORMATS)
        refused = refused or (keyword in REFUSED and not is_vacuous(keyword, setting, schema))
        if refused:
            raise UnsupportedConstraint(
                f"an enum of arrays or objects whose schema has {keyword!r}",
                pointer=pointer,
                keyword=keyword,
            )
    if "enum" in schema and not any(json_text.equal(value, item) for item in schema["enum"]):
        return False
    return _is_valid(value, schema, pointer)


def _has_type(value: Any, types: frozenset[str]) -> bool:
    name = type_name(value)
    return name in types or (name == "number" and "integer" in types and value % 1 == 0)


def _any(value: Any, schema: Schema, pointer: str) -> bool:
    return True


def _number(value: Any, schema: Schema, pointer: str) -> bool:
    return bounds_of(schema).allow(Decimal(value))


def _string(value: str, schema: Schema, pointer: str) -> bool:
    return _in_range(len(value), size(schema, "minLength", "maxLength"))


def _array(value: list[Any], schema: Schema, pointer: str) -> bool:
    first, rest = tuple_items(schema)
    schemas = first[: len(value)] + [rest] * (len(value) - len(first))
    return _in_range(len(value), size(schema, "minItems", "maxItems")) and all(
        _is_valid_inside(item, sub, pointer) for item, sub in zip(value, schemas, strict=True)
    )


def _object(value: dict[str, Any], schema: Schema, pointer: str) -> bool:
    known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    return all(name in value for name in schema.get("required", ())) and all(
        _is_valid_inside(item, known.get(name, other), pointer) for name, item in value.items()
    )


def _in_range(length: int, limits: tuple[int, int | None]) -> bool:
    low, high = limits
    return low <= length and (high is None or length <= high)


_BY_TYPE: Mapping[str, Callable[[Any, Schema, str], bool]] = MappingProxyType(
    {
        "null": _any,
        "boolean": _any,
        "number": _number,
        "string": _string,
        "array": _array,
        "object": _object,
    }
)
