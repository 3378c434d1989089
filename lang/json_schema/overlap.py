"""Which branches of a `oneOf` may hold at once; where none can, it may be read as `anyOf`.

Proved, never guessed: the branches have different types, different constants, or are objects that
require the same property with different constants (a discriminator), or a name the other forbids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from sestina.lang import json_text
from sestina.lang.json_schema.contradiction import exclude
from sestina.lang.json_schema.keywords import Schema, type_name, types_of
from sestina.lang.json_schema.shapes import check_shape

MAX_BRANCHES = 300
MAX_REF_STEPS = 32

Values = tuple[Any, ...]
Resolve = Callable[[Any, str], tuple[Any, str]]


class Outline(NamedTuple):
    """What a value of a branch must be: one of these types; one of `values` if not None; with one
    a property `name` valid under `tags[name]`; with all of `required`, and no name that is not in
    `allowed` (if that is not None) or that is in `forbidden`."""

    types: frozenset[str]
    values: Values | None
    tags: Mapping[str, Schema]
    required: frozenset[str]
    allowed: frozenset[str] | None
    forbidden: frozenset[str]


def overlapping(
    resolve: Resolve, branches: list[Any], pointer: str, given: Schema
) -> list[tuple[int, int]] | None:
    """The pairs of branches that a value might satisfy both of; None if there are too many.

    `given` is a schema that holds beside the branches: only its type and required are looked at.
    """
    if len(branches) > MAX_BRANCHES:
        return None
    outlines = [
        (i, _outline(resolve, branch, pointer, given))
        for i, branch in enumerate(branches)
        if branch is not False
    ]
    return [(i, j) for (i, a), (j, b) in combinations(outlines, 2) if not _exclude(a, b)]


def _exclude(a: Outline, b: Outline) -> bool:
    if not a.types & b.types:
        return True
    if a.values is not None and b.values is not None:
        return not _share(a.values, b.values)
    if a.types & b.types != {"object"}:
        return False
    if _forbids(a, b) or _forbids(b, a):
        return True
    return any(name in b.tags and exclude(a.tags[name], b.tags[name]) for name in a.tags)


def _forbids(a: Outline, b: Outline) -> bool:
    """Whether an object that `a` allows lacks something that `b` requires."""
    if b.required & a.forbidden:
        return True
    return a.allowed is not None and not b.required <= a.allowed


def _share(a: Values, b: Values) -> bool:
    return any(json_text.equal(x, y) for x in a for y in b)


def _outline(resolve: Resolve, branch: Any, pointer: str, given: Schema) -> Outline:
    schema = _target(resolve, branch, pointer)
    values = _constants(schema)
    types = frozenset("number" if t == "integer" else t for t in types_of(schema))
    types &= {"number" if t == "integer" else t for t in types_of(given)}
    needed = frozenset(schema.get("required", ())) | frozenset(given.get("required", ()))
    if values is not None:
        types &= {type_name(value) for value in values}
    tags = {}
    known = schema.get("properties", {})
    for name in needed & known.keys():
        tags[name] = _target(resolve, known[name], pointer)
    forbidden = frozenset(name for name, value in known.items() if value is False)
    is_closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    return Outline(
        types,
        values,
        tags,
        needed,
        frozenset(known) if is_closed else None,
        forbidden,
    )


def _constants(schema: Mapping[str, Any]) -> Values | None:
    if "const" in schema:
        return (schema["const"],)
    return tuple(schema["enum"]) if "enum" in schema else None


def _target(resolve: Resolve, schema: Any, pointer: str) -> Mapping[str, Any]:
    """The schema behind references and one-item allOf; {} (anything) where that is not plain."""
    for _ in range(MAX_REF_STEPS):
        check_shape(schema, pointer)
        if isinstance(schema, bool):
            return {}
        if "$ref" in schema:
            schema, _place = resolve(schema["$ref"], pointer)
        elif len(schema.get("allOf", ())) == 1:
            schema = schema["allOf"][0]
        else:
            plain: Mapping[str, Any] = schema
            return plain
    return {}
