"""What is seen at a glance of two schemas: that no value is valid under both, or one implies other.

Alternatives that cannot be are best dropped at once, as those of several negations multiply. Both
questions are answered with yes only where that is certain.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sestina.lang import json_text
from sestina.lang.errors import ConstraintError
from sestina.lang.json_schema.divisible import is_integral
from sestina.lang.json_schema.key_classes import is_match, never_both
from sestina.lang.json_schema.keywords import ENFORCED, Schema, tupled, type_name, types_of

MAX_DEPTH = 4
MAX_KNOWN = 200_000

Known = dict[tuple[str, int, int, int], bool]
"""Answers by the question, the identities of both schemas, and the depth. Who hands the same one in
again keeps the schemas alive that it asked about."""

# Keywords that say the same wherever they stand; all others are read together with their siblings.
_ALONE = frozenset(
    {
        *("pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        *("multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
        *("minProperties", "maxProperties", "propertyNames", "allOf", "anyOf", "oneOf", "not"),
        *("dependentRequired", "dependentSchemas", "dependencies"),
    }
)
_OBJECTS = ("properties", "patternProperties", "additionalProperties")
_ARRAYS = ("prefixItems", "items", "additionalItems")
_CONTAINS = ("contains", "minContains", "maxContains")


def exclude(a: Any, b: Any, known: Known | None = None, depth: int = 0) -> bool:
    """Whether no value is valid under both. May miss some."""
    if not isinstance(a, dict) or not isinstance(b, dict):
        return a is False or b is False
    known = {} if known is None else known
    key = ("exclude", id(a), id(b), depth)
    found = known.get(key)
    if found is None:
        found = _are_apart(a, b, known, depth)
        if len(known) < MAX_KNOWN:
            known[key] = found
    return found


def _are_apart(a: Schema, b: Schema, known: Known, depth: int) -> bool:
    if _denies(a, b, known, depth) or _denies(b, a, known, depth):
        return True
    if "$ref" in a or "$ref" in b:
        return False
    if _apart(a, b):
        return True
    if depth >= MAX_DEPTH:
        return False
    return (
        _objects_apart(a, b, known, depth)
        or any(exclude(part, b, known, depth + 1) for part in a.get("allOf", ()))
        or any(exclude(a, part, known, depth + 1) for part in b.get("allOf", ()))
    )


def implies(a: Any, b: Any, known: Known | None = None, depth: int = 0) -> bool:
    """Whether every value valid under `a` is valid under `b`. May miss some."""
    if b is True or b == {} or a is False:
        return True
    if not isinstance(a, dict) or not isinstance(b, dict):
        return False
    known = {} if known is None else known
    key = ("implies", id(a), id(b), depth)
    found = known.get(key)
    if found is None:
        found = _is_within(a, b, known, depth)
        if len(known) < MAX_KNOWN:
            known[key] = found
    return found


def _is_within(a: Schema, b: Schema, known: Known, depth: int) -> bool:
    if "$ref" in a or "$ref" in b:  # keywords beside it may not count
        return "$ref" in a and "$ref" in b and len(b) == 1 and _same(a, b, ("$ref",))
    if depth < MAX_DEPTH and any(implies(part, b, known, depth + 1) for part in a.get("allOf", ())):
        return True
    asserted = [k for k in b if k in ENFORCED]
    values = _constants(a)
    if values is not None and {"type", "enum", "const"}.issuperset(asserted):
        return all(_is_valid(value, b) for value in values)
    return all(_implies_keyword(a, b, keyword, known, depth) for keyword in asserted)


def _implies_keyword(a: Any, b: Any, keyword: str, known: Known, depth: int) -> bool:
    if keyword == "allOf" and depth < MAX_DEPTH:
        return all(implies(a, part, known, depth + 1) for part in b["allOf"])
    if keyword == "type":
        return "type" in a and types_of(a) <= _with_integer(types_of(b))
    if keyword == "required":
        return set(b["required"]) <= set(a.get("required", ()))
    if keyword in ("enum", "const"):
        values = _constants(a)
        return values is not None and all(
            _is_valid(value, {keyword: b[keyword]}) for value in values
        )
    if keyword == "not":
        negated = b["not"]
        return _same(a, b, ("not",)) or (
            isinstance(negated, dict) and exclude(a, negated, known, depth + 1)
        )
    if keyword == "properties" and b.keys().isdisjoint(_OBJECTS[1:]):
        return depth < MAX_DEPTH and all(
            implies(_property(a, name), value, known, depth + 1)
            for name, value in b["properties"].items()
        )
    if keyword in _ALONE:
        return _same(a, b, (keyword,))
    for family in (_OBJECTS, _ARRAYS, _CONTAINS):
        if keyword in family:
            return _same(a, b, family)
    return False


def _same(a: Any, b: Any, keywords: tuple[str, ...]) -> bool:
    return all(
        (k in a) == (k in b) and (k not in a or a[k] is b[k] or json_text.equal(a[k], b[k]))
        for k in keywords
    )


def _denies(a: Any, b: Any, known: Known, depth: int) -> bool:
    """Whether `a` has a `not` of something that `b` implies."""
    if "not" not in a or "$ref" in a:
        return False
    negated = a["not"]
    return any(
        implies(b, one, known, depth + 1)
        for one in (negated if isinstance(negated, tuple) else (negated,))
    )


def _apart(a: Any, b: Any) -> bool:
    """Whether types and constants differ."""
    values_a, values_b = _constants(a), _constants(b)
    if values_a is not None and values_b is not None:
        return not any(json_text.equal(x, y) for x in values_a for y in values_b)
    if values_a is None and values_b is None and _are_texts(a, b) and _patterns_apart(a, b):
        return True
    if values_a is not None:
        return "type" in b and not any(_is_valid(x, {"type": b["type"]}) for x in values_a)
    if values_b is not None:
        return "type" in a and not any(_is_valid(y, {"type": a["type"]}) for y in values_b)
    return "type" in a and "type" in b and not _kinds(a) & _kinds(b)


def _are_texts(a: Any, b: Any) -> bool:
    return any(schema.get("type") in ("string", ["string"]) for schema in (a, b))


def _patterns_apart(a: Any, b: Any) -> bool:
    """Whether the strings of both match patterns that cannot match together."""
    if "pattern" not in a or "pattern" not in b:
        return False
    try:
        return any(never_both(p, q) for p in tupled(a["pattern"]) for q in tupled(b["pattern"]))
    except ConstraintError:  # it is said where the pattern is lowered
        return False


def _objects_apart(a: Any, b: Any, known: Known, depth: int) -> bool:
    """Whether values of both are objects, and a property that one of them needs cannot be."""
    if not any(schema.get("type") in ("object", ["object"]) for schema in (a, b)):
        return False
    for name in {*a.get("required", ()), *b.get("required", ())}:
        x, y = _property(a, name), _property(b, name)
        if x is False or y is False or exclude(x, y, known, depth + 1):
            return True
    return False


def _property(schema: Any, name: str) -> Any:
    """What plainly holds for a property."""
    known = schema.get("properties", {})
    if name in known:
        return known[name]
    is_closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    return not is_closed


def _constants(schema: Any) -> list[Any] | None:
    """A list that every value of the schema is in; None if it has none."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _is_valid(value: Any, schema: Any) -> bool:
    """Whether a value is valid under type, enum and const."""
    if "type" in schema:
        types, name = types_of(schema), type_name(value)
        is_integer = name == "number" and "integer" in types and is_integral(Decimal(value))
        if name not in types and not is_integer:
            return False
    if "const" in schema and not json_text.equal(value, schema["const"]):
        return False
    return "enum" not in schema or any(json_text.equal(value, x) for x in schema["enum"])


def rules_out(schema: Schema, value: Any) -> bool:
    """Whether a value is plainly not valid under a schema. May miss some."""
    if "$ref" in schema:  # keywords beside it may not count
        return False
    if not _is_valid(value, schema):
        return True
    if not isinstance(value, str) or "pattern" not in schema:
        return False
    try:
        return not all(is_match(p, value, widest=True) for p in tupled(schema["pattern"]))
    except ConstraintError:  # it is said where the pattern is lowered
        return False


def _with_integer(types: frozenset[str]) -> frozenset[str]:
    return types | {"integer"} if "number" in types else types


def _kinds(schema: Any) -> frozenset[str]:
    return frozenset("number" if t == "integer" else t for t in types_of(schema))
