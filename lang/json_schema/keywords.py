"""The keywords of JSON Schema 2020-12 and draft-07: what becomes of each.

ENFORCED keywords are lowered; everything else is an annotation, as the specification says of
unknown keywords. Some are enforced within limits, and raise UnsupportedConstraint beyond:

    not, oneOf with overlaps    where the negation is: not of uniqueItems, propertyNames,
                                unevaluated*, nor of what patternProperties and
                                additionalProperties other than false say of values
    oneOf                       branches that overlap too often exactly are told apart by type and
                                required properties alone
    patternProperties           up to 32 combinations of patterns that may match one name
    propertyNames               names by keywords of strings
    minProperties               where up to 16 undeclared properties are needed to meet it; of those
                                whose names cannot be listed, the first characters are counted
    uniqueItems                 of few constants, or with maxItems 1
    contains                    with bounds of up to 1,024 states; one for each array
    multipleOf                  up to 4,000 states of remainders (factors 2 and 5 hardly count), or
                                2,000 times digits beside bounds; the negation of integers
    format                      all of 2020-12; hostname, idn-email, idn-hostname and regex but for
                                what docs/limits.md lists
    unevaluated*                up to 128 combinations of branches that evaluate different places
    $ref, $dynamicRef           inside the document and a given registry
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sestina.lang.errors import InvalidConstraint
from sestina.lang.json_schema.number import Bounds, check_bound

Schema = Mapping[str, Any]

TYPES = ("null", "boolean", "number", "string", "array", "object")

APPLICATORS = ("$ref", "allOf", "anyOf", "oneOf")

# Keyword -> the type of value it says something about; "" is every type.
ENFORCED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("type", "enum", "const", *APPLICATORS), ""),
        **dict.fromkeys(("not", "if", "then", "else"), ""),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), "number"),
        "multipleOf": "number",
        **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
        **dict.fromkeys(
            ("items", "prefixItems", "additionalItems", "minItems", "maxItems"), "array"
        ),
        **dict.fromkeys(("uniqueItems", "contains", "minContains", "maxContains"), "array"),
        **dict.fromkeys(("properties", "required", "additionalProperties"), "object"),
        **dict.fromkeys(("patternProperties", "propertyNames"), "object"),
        **dict.fromkeys(("minProperties", "maxProperties"), "object"),
        **dict.fromkeys(("dependentRequired", "dependentSchemas", "dependencies"), "object"),
        "unevaluatedProperties": "object",
        "unevaluatedItems": "array",
    }
)


def tupled(value: Any) -> tuple[Any, ...]:
    """A keyword of which several values may have met (`merge`), as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def types_of(schema: Schema) -> frozenset[str]:
    """The values of `type` ("integer" only where "number" is not allowed), all if absent."""
    named = schema.get("type")
    if named is None and "type" not in schema:
        return _ALL_TYPES
    if isinstance(named, str) and named in _ONE_TYPE:
        return _ONE_TYPE[named]
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise InvalidConstraint(f"type must be a name or a list of names, got {named!r}")
    for name in names:
        if name not in _ONE_TYPE:
            raise InvalidConstraint(f"unknown type {name!r}; known: integer, {', '.join(TYPES)}")
    found = frozenset(names)
    return found - {"integer"} if "number" in found else found


_ALL_TYPES = frozenset(TYPES)
_ONE_TYPE = MappingProxyType({name: frozenset({name}) for name in (*TYPES, "integer")})


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
    if type(value) is int and value >= 0:
        return value
    is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    if not is_number or value != Decimal(value).to_integral_value() or value < 0:
        raise InvalidConstraint(f"must be a non-negative integer, got {value!r}")
    return int(value)


def step_of(schema: Schema) -> Decimal:
    """multipleOf."""
    return check_bound(Decimal(schema["multipleOf"]))


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
