"""Two schemas as one: the keyword-by-keyword conjunction behind `allOf` and siblings of `$ref`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NoReturn

from sestina.lang import json_text
from sestina.lang.errors import ConstraintLimitExceeded, UnsupportedConstraint
from sestina.lang.json_schema.contradiction import exclude
from sestina.lang.json_schema.key_classes import is_match
from sestina.lang.json_schema.keywords import ENFORCED, Schema, types_of
from sestina.lang.json_schema.number import check_bound


def conjunction(a: Any, b: Any, pointer: str) -> Any:
    """A schema valid exactly where both are. Annotations are dropped; neither has sugar.

    Sub-schemas that meet become `allOf`, to be merged when they are reached. Keywords of which
    both schemas have one, and that have no merged form, are refused. Several patterns, formats or
    residual negations become a tuple, which no schema in JSON can hold.
    """
    if a is False or b is False:
        return False
    if a is True or b is True:
        return b if a is True else a
    merged: dict[str, Any] = {}
    later: list[Any] = []
    for keyword in {**a, **b}:
        if keyword in _FAMILIES or not _asserts(keyword):
            continue
        if keyword not in a or keyword not in b:
            merged[keyword] = (a if keyword in a else b)[keyword]
        elif keyword in _COMBINE:
            merged[keyword] = _COMBINE[keyword](a[keyword], b[keyword])
        elif _equal(a[keyword], b[keyword]):
            merged[keyword] = a[keyword]
        elif keyword in ("anyOf", "oneOf", "$ref"):
            merged[keyword] = a[keyword]
            later.append({keyword: b[keyword]})
        elif keyword == "const":
            return False
        else:
            _refuse(keyword, pointer)
    if "type" in a or "type" in b:
        merged["type"] = _common_types(a, b)
        if not merged["type"]:
            return False
    if later:
        merged["allOf"] = [*merged.get("allOf", ()), *later]
    merged |= {**_objects(a, b, pointer), **_arrays(a, b), **_contains(a, b)}
    known, needed = merged.get("properties", {}), merged.get("required", ())
    is_object = merged.get("type") in ("object", ["object"])
    return False if is_object and any(known.get(n) is False for n in needed) else merged


def _refuse(keyword: str, pointer: str) -> NoReturn:
    raise UnsupportedConstraint(
        f"two different {keyword!r} apply to the same value", pointer=pointer, keyword=keyword
    )


def _asserts(keyword: str) -> bool:
    return keyword in ENFORCED


def _equal(a: Any, b: Any) -> bool:
    return a is b or json_text.equal(a, b)


def both(a: Any, b: Any) -> Any:
    """A schema for a place where both apply, merged lazily."""
    if a is False or b is False:
        return False
    if a is True or b is True:
        return b if a is True else a
    if any(exclude(x, y) for x in _parts(a) for y in _parts(b)):
        return False
    parts = {id(part): part for part in (*_parts(a), *_parts(b))}
    return a if len(parts) == 1 else {"allOf": list(parts.values())}


def _parts(schema: Any) -> list[Any]:
    return schema["allOf"] if isinstance(schema, dict) and schema.keys() == {"allOf"} else [schema]


def _common_types(a: Schema, b: Schema) -> list[str]:
    types_a, types_b = types_of(a), types_of(b)
    common = types_a & types_b
    if {"integer", "number"} <= types_a | types_b and "number" not in common:
        integers = {"integer"} & (types_a | types_b)
        if ("integer" in types_a and "number" in types_b) or (
            "integer" in types_b and "number" in types_a
        ):
            common |= integers
    return sorted(common)


def _objects(a: Schema, b: Schema, pointer: str) -> dict[str, Any]:
    """properties, patternProperties and additionalProperties, which depend on each other."""
    if not any(k in s for k in _OBJECTS for s in (a, b)):
        return {}
    known_a, known_b = a.get("properties", {}), b.get("properties", {})
    patterns_a, patterns_b = a.get("patternProperties", {}), b.get("patternProperties", {})
    other_a, other_b = a.get("additionalProperties", True), b.get("additionalProperties", True)
    merged: dict[str, Any] = {}
    names = {**known_a, **known_b}
    if names:
        merged["properties"] = {
            n: both(
                known_a[n] if n in known_a else _if_unmatched(n, a, pointer),
                known_b[n] if n in known_b else _if_unmatched(n, b, pointer),
            )
            for n in names
        }
    if patterns_a or patterns_b:
        merged["patternProperties"] = {
            p: both(patterns_a.get(p, True), patterns_b.get(p, True))
            for p in {**patterns_a, **patterns_b}
        }
    if _is_apart(a, b) or _is_apart(b, a):
        merged["additionalProperties"] = (*remainders(a), *remainders(b))
        return merged
    for p in patterns_a.keys() ^ patterns_b.keys():
        other = other_a if p in patterns_b else other_b
        merged["patternProperties"][p] = both(merged["patternProperties"][p], other)
    if "additionalProperties" in a or "additionalProperties" in b:
        merged["additionalProperties"] = both(other_a, other_b)
    return merged


def _if_unmatched(name: str, schema: Schema, pointer: str) -> Any:
    """What a schema that does not declare `name` says of it, but for its patterns."""
    found: Any = True
    for remainder in remainders(schema):
        if name not in remainder["properties"]:
            found = both(found, if_matched_by_none(name, remainder, pointer))
    return found


def if_matched_by_none(name: str, remainder: Schema, pointer: str) -> Any:
    """What additionalProperties say of a name that is not declared."""
    patterns, other = remainder["patternProperties"], remainder["additionalProperties"]
    if other is True or not any(is_match(p, name, widest=True) for p in patterns):
        return other
    if any(is_match(p, name) for p in patterns):
        return True
    _refuse("patternProperties", pointer)


def remainders(schema: Schema) -> tuple[Schema, ...]:
    """additionalProperties, each with the names and patterns that it leaves out.

    Several that have met and leave out different names are a tuple of these.
    """
    other = schema.get("additionalProperties", True)
    if isinstance(other, tuple):
        return other
    if other is True:
        return ()
    names, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return (
        {
            "properties": dict.fromkeys(names, True),
            "patternProperties": dict.fromkeys(patterns, True),
            "additionalProperties": other,
        },
    )


def _is_apart(a: Schema, b: Schema) -> bool:
    """Whether the additionalProperties of `b` hold for a part of what a pattern of `a` matches."""
    other = b.get("additionalProperties", True)
    if other is True:
        return False
    known, patterns = b.get("properties", {}), b.get("patternProperties", {})
    alone = [p for p in a.get("patternProperties", {}) if p not in patterns]
    if isinstance(other, tuple) or (alone and patterns):
        return True
    return any(is_match(p, name, widest=True) for p in alone for name in known)


def _arrays(a: Schema, b: Schema) -> dict[str, Any]:
    """prefixItems and items, likewise."""
    if not any(k in s for k in ("prefixItems", "items") for s in (a, b)):
        return {}
    if not any("prefixItems" in s or isinstance(s.get("items"), list) for s in (a, b)):
        return {"items": both(a.get("items", True), b.get("items", True))}
    (first_a, rest_a), (first_b, rest_b) = tuple_items(a), tuple_items(b)
    length = max(len(first_a), len(first_b))
    first_a = first_a + [rest_a] * (length - len(first_a))
    first_b = first_b + [rest_b] * (length - len(first_b))
    merged = [both(x, y) for x, y in zip(first_a, first_b, strict=True)]
    return {"prefixItems": merged, "items": both(rest_a, rest_b)}


def _contains(a: Schema, b: Schema) -> dict[str, Any]:
    """contains with its bounds; several become a tuple of schemas with nothing else in them."""
    found: list[dict[str, Any]] = []
    for schema in (a, b):
        given = schema.get("contains", ())
        for part in given if isinstance(given, tuple) else (schema,):
            one = {keyword: part[keyword] for keyword in _CONTAINS if keyword in part}
            if not any(_equal(one, other) for other in found):
                found.append(one)
    return {"contains": tuple(found)} if len(found) > 1 else dict(*found)


def tuple_items(schema: Schema) -> tuple[list[Any], Any]:
    """The schemas of the first items, and of all others; knows the draft-07 form too."""
    items = schema.get("items", True)
    if isinstance(items, list):
        return items, schema.get("additionalItems", True)
    return list(schema.get("prefixItems", ())), items


def _common_values(a: list[Any], b: list[Any]) -> list[Any]:
    return [x for x in a if any(json_text.equal(x, y) for y in b)]


def _tuple(a: Any, b: Any) -> tuple[Any, ...]:
    parts_a, parts_b = (x if isinstance(x, tuple) else (x,) for x in (a, b))
    return (*parts_a, *(x for x in parts_b if x not in parts_a))


def _common_multiple(a: Decimal | int, b: Decimal | int) -> Decimal:
    x, y = Fraction(check_bound(Decimal(a))), Fraction(check_bound(Decimal(b)))
    lcm = Fraction(
        math.lcm(x.numerator * y.denominator, y.numerator * x.denominator),
        x.denominator * y.denominator,
    )
    found = Decimal(lcm.numerator) / lcm.denominator
    if Fraction(found) != lcm:
        raise ConstraintLimitExceeded(f"the common multiple of multipleOf {a} and {b}")
    return found


_OBJECTS = ("properties", "patternProperties", "additionalProperties")
_CONTAINS = ("contains", "minContains", "maxContains")
_FAMILIES = frozenset({"type", *_OBJECTS, *_CONTAINS, "prefixItems", "items", "additionalItems"})

_COMBINE: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems"), max),
        **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems"), min),
        "minProperties": max,
        "maxProperties": min,
        "required": lambda a, b: [*a, *(name for name in b if name not in a)],
        "enum": _common_values,
        "allOf": lambda a, b: [*a, *b],
        **dict.fromkeys(("pattern", "format", "not"), _tuple),
        "uniqueItems": lambda a, b: a or b,
        "multipleOf": _common_multiple,
        "propertyNames": both,
    }
)
