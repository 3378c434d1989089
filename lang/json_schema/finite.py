"""The values of a schema that lists them, directly or through its parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sestina.lang import json_text
from sestina.lang.json_schema import values
from sestina.lang.json_schema.keywords import ENFORCED, Schema, bounds_of, types_of
from sestina.lang.json_schema.refs import child
from sestina.lang.json_schema.values import Validator

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_DEPTH = 12
MAX_VALUES = 10_000
MAX_COMPARED = 500  # values that other keywords list: each is looked up in these
MAX_INTEGERS = 64


def plain_constants(compiler: Compiler, schema: Any, pointer: str) -> list[Any] | None:
    """The values of a schema that is nothing but a list of them; None of any other."""
    for _ in range(MAX_DEPTH):
        schema = compiler.checked(schema, pointer)
        if isinstance(schema, bool):
            return None
        if "enum" in schema or "const" in schema:
            return values.members(compiler, schema, pointer)
        if {k for k in schema if k in ENFORCED} != {"$ref"}:
            if schema.get("type") != "boolean" or schema.keys() & {"anyOf", "oneOf"}:
                return None
            return values.members(compiler, {"enum": [False, True], **schema}, pointer)
        schema, pointer = compiler.resolve(schema["$ref"], pointer)
    return None


def finite_values(compiler: Compiler, schema: Any, pointer: str) -> list[list[Any]] | None:
    """The values valid under a schema, equal ones together; None if nothing lists them.

    Raises UnsupportedConstraint for a keyword that `values` does not understand.
    """
    for _ in range(MAX_DEPTH):
        if isinstance(schema, bool) or not ("$ref" in schema and len(schema) == 1):
            break
        schema, pointer = compiler.resolve(schema["$ref"], pointer)
    listed = _listed(compiler, schema, pointer, 0)
    known = "enum" if isinstance(schema, dict) and "enum" in schema else ""
    if listed is None or len(listed) > (MAX_VALUES if known else MAX_COMPARED):
        return None
    validator = Validator(compiler, pointer)
    groups: dict[Any, list[Any]] = {}
    for value in listed:
        group = groups.setdefault(identity(value), [])
        if all(json_text.dumps(value) != json_text.dumps(other) for other in group):
            group.append(value)
    return [group for group in groups.values() if validator.is_valid(group[0], schema, known)]


def identity(value: Any) -> Any:
    """What equal JSON values have in common, and no others: a hashable value."""
    if isinstance(value, dict):
        return ("object", frozenset((key, identity(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("array", *map(identity, value))
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return ("number", value)  # 1 and Decimal("1.0") are equal and have one hash
    return (type(value).__name__, value)


def _listed(compiler: Compiler, schema: Any, pointer: str, depth: int) -> list[Any] | None:
    """Values among which are all that are valid; None if nothing in the schema lists them."""
    if isinstance(schema, bool) or depth > MAX_DEPTH:
        return [] if schema is False else None
    if "enum" in schema:
        return list(schema["enum"])
    if "const" in schema:
        return [schema["const"]]
    if "$ref" in schema:
        target, place = compiler.resolve(schema["$ref"], pointer)
        found = _listed(compiler, target, place, depth + 1)
        if found is not None or compiler.is_only_ref(schema):
            return found
    for keyword in ("anyOf", "oneOf"):
        branches = enumerate(schema.get(keyword, ()))
        parts = [_listed(compiler, s, child(pointer, keyword, i), depth + 1) for i, s in branches]
        known = [part for part in parts if part is not None]
        if parts and len(known) == len(parts):
            return [value for part in known for value in part]
    for i, part in enumerate(schema.get("allOf", ())):
        found = _listed(compiler, part, child(pointer, "allOf", i), depth + 1)
        if found is not None:
            return found
    return _of_types(schema)


def _of_types(schema: Schema) -> list[Any] | None:
    """All values of types that have few."""
    found: list[Any] = []
    for name in types_of(schema):
        values = _integers(schema) if name == "integer" else _FEW.get(name)
        if values is None:
            return None
        found += values
    return found


_FEW: Mapping[str, Iterable[Any]] = MappingProxyType({"boolean": (False, True), "null": (None,)})


def _integers(schema: Schema) -> Iterable[Any] | None:
    """The integers between bounds that are near each other."""
    bounds = bounds_of(schema)
    lows = [b for b in (bounds.minimum, bounds.exclusive_minimum) if b is not None]
    highs = [b for b in (bounds.maximum, bounds.exclusive_maximum) if b is not None]
    if not lows or not highs:
        return None
    low, high = math.ceil(max(lows)), math.floor(min(highs))
    return range(low, high + 1) if high - low < MAX_INTEGERS else None
