"""Whether the branches of a `oneOf` can never hold at once, so that it may be read as `anyOf`.

Proved, never guessed: the branches have different types, different constants, or are objects that
require the same property with different constants (a discriminator).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

from sestina.lang import json_text
from sestina.lang.json_keywords import type_name, types_of
from sestina.lang.json_refs import resolve
from sestina.lang.json_shapes import check_shape

MAX_BRANCHES = 300
MAX_REF_STEPS = 32

Values = tuple[Any, ...]


class Outline(NamedTuple):
    """What a value of a branch must be: one of these types; one of `values` if not None; with one
    of `tags[name]` as the property `name`."""

    types: frozenset[str]
    values: Values | None
    tags: Mapping[str, Values]


def are_disjoint(document: Any, branches: list[Any], pointer: str) -> bool:
    """True if no value can satisfy two of the branches; False if that is not obvious."""
    live = [branch for branch in branches if branch is not False]
    if len(live) > MAX_BRANCHES:
        return False
    outlines = [_outline(document, branch, pointer) for branch in live]
    return all(_exclude(a, b) for a, b in combinations(outlines, 2))


def _exclude(a: Outline, b: Outline) -> bool:
    if not a.types & b.types:
        return True
    if a.values is not None and b.values is not None:
        return not _share(a.values, b.values)
    if a.types | b.types != {"object"}:
        return False
    return any(name in b.tags and not _share(a.tags[name], b.tags[name]) for name in a.tags)


def _share(a: Values, b: Values) -> bool:
    return any(json_text.equal(x, y) for x in a for y in b)


def _outline(document: Any, branch: Any, pointer: str) -> Outline:
    schema = _target(document, branch, pointer)
    values = _constants(schema)
    types = frozenset("number" if t == "integer" else t for t in types_of(schema))
    if values is not None:
        types &= {type_name(value) for value in values}
    tags = {}
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        found = _constants(_target(document, known.get(name, True), pointer))
        if found is not None:
            tags[name] = found
    return Outline(types, values, tags)


def _constants(schema: Mapping[str, Any]) -> Values | None:
    if "const" in schema:
        return (schema["const"],)
    return tuple(schema["enum"]) if "enum" in schema else None


def _target(document: Any, schema: Any, pointer: str) -> Mapping[str, Any]:
    """The schema behind references and one-item allOf; {} (anything) where that is not plain."""
    for _ in range(MAX_REF_STEPS):
        check_shape(schema, pointer)
        if isinstance(schema, bool):
            return {}
        if "$ref" in schema:
            schema, _place = resolve(document, schema["$ref"], pointer)
        elif len(schema.get("allOf", ())) == 1:
            schema = schema["allOf"][0]
        else:
            plain: Mapping[str, Any] = schema
            return plain
    return {}
