"""Schemas that are seen at a glance to have no value in common.

An alternative that cannot be is best dropped at once: those of several negations multiply.
"""

from __future__ import annotations

from typing import Any

from sestina.lang import json_text
from sestina.lang.json_schema.keywords import ENFORCED, type_name, types_of


def exclude(a: Any, b: Any) -> bool:
    """Whether no value is valid under both, by their own types and constants. May miss some."""
    if not isinstance(a, dict) or not isinstance(b, dict) or "$ref" in a or "$ref" in b:
        return False
    return _rules_out(a, b) or _rules_out(b, a) or _apart(a, b)


def _apart(a: Any, b: Any) -> bool:
    values_a, values_b = _constants(a), _constants(b)
    if values_a is not None and values_b is not None:
        return not any(json_text.equal(x, y) for x in values_a for y in values_b)
    return "type" in a and "type" in b and not _types(a) & _types(b)


def _rules_out(a: Any, b: Any) -> bool:
    """Whether all values of `b` are constants that `a` is the negation of."""
    negated, values = a.get("not"), _constants(b)
    if values is None or not isinstance(negated, dict):
        return False
    if any(k in ENFORCED for k in negated if k not in ("const", "enum")):
        return False
    excluded = _constants(negated)
    if excluded is None or len(negated.keys() & {"const", "enum"}) > 1:
        return False
    return all(any(json_text.equal(x, y) for y in excluded) for x in values)


def _constants(schema: Any) -> list[Any] | None:
    """A list that every value of the schema is in; None if it has none."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _types(schema: Any) -> frozenset[str]:
    named = frozenset("number" if t == "integer" else t for t in types_of(schema))
    values = _constants(schema)
    return named if values is None else named & {type_name(value) for value in values}
