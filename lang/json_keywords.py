"""The keywords of JSON Schema 2020-12 and draft-07: what becomes of each.

ENFORCED keywords are lowered. REFUSED ones raise UnsupportedConstraint where they could forbid
something, that is unless their value or the schema's `type` makes them vacuous. Everything else is
an annotation, as the specification says of unknown keywords.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sestina.lang.errors import InvalidConstraint
from sestina.lang.json_number import Bounds, check_bound

Schema = Mapping[str, Any]

TYPES = ("null", "boolean", "number", "string", "array", "object")

APPLICATORS = ("$ref", "allOf", "anyOf", "oneOf")

# Keyword -> the type of value it says something about; "" is every type.
ENFORCED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("type", "enum", "const", *APPLICATORS), ""),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), "number"),
        **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
        **dict.fromkeys(
            ("items", "prefixItems", "additionalItems", "minItems", "maxItems"), "array"
        ),
        **dict.fromkeys(("properties", "required", "additionalProperties"), "object"),
    }
)

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("not", "if", "$dynamicRef", "$recursiveRef"), ""),
        "multipleOf": "number",
        **dict.fromkeys(("uniqueItems", "contains", "unevaluatedItems"), "array"),
        **dict.fromkeys(
            (
                "patternProperties",
                "propertyNames",
                "minProperties",
                "maxProperties",
                "dependentRequired",
                "dependentSchemas",
                "dependencies",
                "unevaluatedProperties",
            ),
            "object",
        ),
    }
)

_ALLOW_ALL: tuple[Any, ...] = (True, {})


def is_vacuous(keyword: str, value: Any, schema: Schema) -> bool:
    """Whether a refused keyword, with this value, forbids nothing."""
    if keyword in ("patternProperties", "dependentRequired", "dependentSchemas", "dependencies"):
        return bool(value == {})
    if keyword == "minProperties":
        return count(value) <= len(set(schema.get("required", ())))
    if keyword == "uniqueItems":
        return value is False
    if keyword == "if":
        return "then" not in schema and "else" not in schema
    if keyword == "not":
        return value is False
    return keyword in ("propertyNames", "unevaluatedItems", "unevaluatedProperties") and any(
        value is all_ or value == all_ == {} for all_ in _ALLOW_ALL
    )


def types_of(schema: Schema) -> frozenset[str]:
    """The values of `type` ("integer" only where "number" is not allowed), all if absent."""
    named = schema.get("type", list(TYPES))
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise InvalidConstraint(f"type must be a name or a list of names, got {named!r}")
    for name in names:
        if name not in TYPES and name != "integer":
            raise InvalidConstraint(f"unknown type {name!r}; known: integer, {', '.join(TYPES)}")
    found = frozenset(names)
    return found - {"integer"} if "number" in found else found


def type_name(value: Any) -> str:
    """The type of a JSON value, "number" for every number."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"


def count(value: Any) -> int:
    """A non-negative integer (2.0 is one)."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or value % 1 or value < 0:
        raise InvalidConstraint(f"must be a non-negative integer, got {value!r}")
    return int(value)


def size(schema: Schema, minimum: str, maximum: str) -> tuple[int, int | None]:
    """The values of a pair like minItems and maxItems."""
    most = schema.get(maximum)
    return count(schema.get(minimum, 0)), None if most is None else count(most)


def bounds_of(schema: Schema) -> Bounds:
    """minimum, maximum, exclusiveMinimum, exclusiveMaximum."""
    values: list[Decimal | None] = []
    for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        value = schema.get(keyword)
        if value is None and keyword not in schema:
            values.append(None)
        elif isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise InvalidConstraint(f"{keyword} must be a number, got {value!r}")
        else:
            values.append(check_bound(Decimal(value)))
    return Bounds(*values)
