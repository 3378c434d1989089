"""Two schemas as one: the keyword-by-keyword conjunction behind `allOf` and siblings of `$ref`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sestina.lang import json_text
from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.json_keywords import ENFORCED, REFUSED, Schema, types_of


def conjunction(a: Any, b: Any, pointer: str) -> Any:
    """A schema valid exactly where both are. Annotations are dropped.

    Sub-schemas that meet become `allOf`, to be merged when they are reached. Keywords of which
    both schemas have one, and that have no merged form, are refused.
    """
    if a is False or b is False:
        return False
    if a is True or b is True:
        return b if a is True else a
    merged: dict[str, Any] = {}
    for keyword in {**a, **b}:
        if keyword in _FAMILIES or not _asserts(keyword):
            continue
        if keyword not in a or keyword not in b:
            merged[keyword] = (a if keyword in a else b)[keyword]
        elif keyword in _COMBINE:
            merged[keyword] = _COMBINE[keyword](a[keyword], b[keyword])
        elif json_text.equal(a[keyword], b[keyword]):
            merged[keyword] = a[keyword]
        else:
            raise UnsupportedConstraint(
                f"two different {keyword!r} apply to the same value",
                pointer=pointer,
                keyword=keyword,
            )
    if "type" in a or "type" in b:
        merged["type"] = _common_types(a, b)
    return {**merged, **_objects(a, b), **_arrays(a, b)}


def _asserts(keyword: str) -> bool:
    return keyword in ENFORCED or keyword in REFUSED or keyword in ("then", "else")


def both(a: Any, b: Any) -> Any:
    """A schema for a place where both apply, merged lazily."""
    if a is True or b is True:
        return b if a is True else a
    return {"allOf": [a, b]}


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


def _objects(a: Schema, b: Schema) -> dict[str, Any]:
    """properties and additionalProperties, which depend on each other inside one schema."""
    if not any(k in s for k in ("properties", "additionalProperties") for s in (a, b)):
        return {}
    known_a, known_b = a.get("properties", {}), b.get("properties", {})
    other_a, other_b = a.get("additionalProperties", True), b.get("additionalProperties", True)
    names = {**known_a, **known_b}
    return {
        "properties": {n: both(known_a.get(n, other_a), known_b.get(n, other_b)) for n in names},
        "additionalProperties": both(other_a, other_b),
    }


def _arrays(a: Schema, b: Schema) -> dict[str, Any]:
    """prefixItems and items, likewise."""
    if not any(k in s for k in ("prefixItems", "items") for s in (a, b)):
        return {}
    (first_a, rest_a), (first_b, rest_b) = tuple_items(a), tuple_items(b)
    length = max(len(first_a), len(first_b))
    first_a = first_a + [rest_a] * (length - len(first_a))
    first_b = first_b + [rest_b] * (length - len(first_b))
    merged = [both(x, y) for x, y in zip(first_a, first_b, strict=True)]
    return {"prefixItems": merged, "items": both(rest_a, rest_b)}


def tuple_items(schema: Schema) -> tuple[list[Any], Any]:
    """The schemas of the first items, and of all others; knows the draft-07 form too."""
    items = schema.get("items", True)
    if isinstance(items, list):
        return items, schema.get("additionalItems", True)
    return list(schema.get("prefixItems", ())), items


def _common_values(a: list[Any], b: list[Any]) -> list[Any]:
    return [x for x in a if any(json_text.equal(x, y) for y in b)]


_FAMILIES = frozenset(
    {"type", "properties", "additionalProperties", "prefixItems", "items", "additionalItems"}
)

_COMBINE: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems"), max),
        **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems"), min),
        "required": lambda a, b: [*a, *(name for name in b if name not in a)],
        "enum": _common_values,
        "allOf": lambda a, b: [*a, *b],
    }
)
