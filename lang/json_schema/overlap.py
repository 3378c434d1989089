"""Which branches of a `oneOf` may hold at once; where none can, it may be read as `anyOf`.

Proved, never guessed: the branches have different types, different constants, or are objects that
require the same property with different constants (a discriminator), or a name the other forbids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from sestina.lang import json_text
from sestina.lang.json_schema.contradiction import exclude, rules_out
from sestina.lang.json_schema.keywords import Schema, type_name, types_of
from sestina.lang.json_schema.shapes import check_shape

MAX_BRANCHES = 300
MAX_PARTS = 32
MAX_CONSTANTS = 32  # that are looked at under all parts of a tag

Values = tuple[Any, ...]
Resolve = Callable[[Any, str], tuple[Any, str]]


class Outline(NamedTuple):
    """What a value of a branch must be: one of these types; one of `values` if not None; with one
    a property `name` valid under all of `tags[name]`; with all of `required`, and no name that is
    not in `allowed` (if that is not None) or that is in `forbidden`."""

    types: frozenset[str]
    values: Values | None
    tags: Mapping[str, list[Schema]]
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
    return any(_tags_exclude(a.tags[n], b.tags[n]) for n in a.tags.keys() & b.tags.keys())


def _tags_exclude(a: list[Schema], b: list[Schema]) -> bool:
    """Whether no value is valid under all of these: two exclude each other, or of the constants
    that one lists each is ruled out by another (an enum that all branches share, and patterns)."""
    if any(exclude(x, y) for x in a for y in b):
        return True
    every = a + b
    values = next((own for part in every if (own := _constants(part)) is not None), None)
    return (
        values is not None
        and len(values) <= MAX_CONSTANTS
        and all(any(rules_out(part, value) for part in every) for value in values)
    )


def _forbids(a: Outline, b: Outline) -> bool:
    """Whether an object that `a` allows lacks something that `b` requires."""
    if b.required & a.forbidden:
        return True
    return a.allowed is not None and not b.required <= a.allowed


def _share(a: Values, b: Values) -> bool:
    return any(json_text.equal(x, y) for x in a for y in b)


def _outline(resolve: Resolve, branch: Any, pointer: str, given: Schema) -> Outline:
    types = _kinds(given)
    values: Values | None = None
    required = frozenset(given.get("required", ()))
    allowed: frozenset[str] | None = None
    parts = _parts(resolve, branch, pointer)
    for part in parts:
        types &= _kinds(part)
        own = _constants(part)
        if own is not None:
            types &= {type_name(value) for value in own}
            values = own if values is None else values
        required |= frozenset(part.get("required", ()))
        if part.get("additionalProperties") is False and not part.get("patternProperties"):
            names = frozenset(part.get("properties", ()))
            allowed = names if allowed is None else allowed & names
    known = [(n, s) for part in parts for n, s in part.get("properties", {}).items()]
    tags: dict[str, list[Schema]] = {}
    for name, schema in known:
        if name in required:
            tags.setdefault(name, []).extend(_parts(resolve, schema, pointer))
    forbidden = frozenset(name for name, schema in known if schema is False)
    return Outline(types, values, tags, required, allowed, forbidden)


def _kinds(schema: Schema) -> frozenset[str]:
    return frozenset("number" if t == "integer" else t for t in types_of(schema))


def _constants(schema: Schema) -> Values | None:
    if "const" in schema:
        return (schema["const"],)
    return tuple(schema["enum"]) if "enum" in schema else None


def _parts(resolve: Resolve, schema: Any, pointer: str) -> list[Schema]:
    """Schemas that all hold where this one does: behind references, and of allOf."""
    found: list[Schema] = []
    pending = [schema]
    for _ in range(MAX_PARTS):
        if not pending:
            break
        part = pending.pop()
        check_shape(part, pointer)
        if isinstance(part, bool):
            continue
        if "$ref" in part:
            pending.append(resolve(part["$ref"], pointer)[0])
        else:
            pending += part.get("allOf", ())
            found.append(part)
    return found
