"""`lenient=True`: a schema without the keywords that cannot be enforced.

What is dropped is listed, and is no longer demanded of the text; beneath a `not` it is no longer
allowed either. A `oneOf` of which only the exclusion fails stays as `anyOf`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sestina.lang.errors import ConstraintError
from sestina.lang.json_schema.refs import child

# What may be behind a refusal of several schemas together, where its own keyword is not found.
_COMBINING = (
    *("oneOf", "not", "if", "unevaluatedProperties", "unevaluatedItems", "dependentSchemas"),
    *("dependencies", "anyOf", "allOf", "$ref", "$dynamicRef"),
)

Place = tuple[str, str]
"""Pointer and keyword."""


def drop_refused(document: Any, error: ConstraintError) -> list[Place]:
    """Remove from `document`, in place, what the error is about; the places, [] if none is found.

    The error's pointer may lead into a schema that was derived: what counts is the last schema on
    the way that exists, then what is inside it, then those around it, then the whole document.
    """
    path = _path(document, (error.pointer or "").partition("#")[2] or error.pointer or "")
    schema, pointer = path[-1]
    keyword = error.keyword
    if keyword is not None:
        inside = [found for found in _schemas(schema, pointer) if keyword in found[0]]
        around = [found for found in reversed(path) if keyword in found[0]]
        everywhere = _schemas(*path[0])
        for places in (
            [(schema, pointer)] if keyword in schema else [],
            inside,
            around[:1],
            [found for found in everywhere if keyword in found[0]],
        ):
            if places:
                return [_drop(found, at, keyword) for found, at in places]
    for found, at in reversed(path):
        for name in _COMBINING:
            if name in found:
                return [_drop(found, at, name)]
    return []


def places_in_source(places: Iterable[Place]) -> tuple[Place, ...]:
    """The places where the user wrote them: below a `oneOf` that has become `anyOf`."""
    found: dict[Place, None] = {}
    renamed: list[str] = []
    for pointer, keyword in places:
        for above in renamed:
            if pointer.startswith(f"{above}/anyOf/"):
                pointer = f"{above}/oneOf/{pointer.removeprefix(f'{above}/anyOf/')}"
        found[pointer, keyword] = None
        if keyword == "oneOf":
            renamed.append(pointer)
    return tuple(found)


def _drop(schema: dict[str, Any], pointer: str, keyword: str) -> Place:
    value = schema.pop(keyword)
    if keyword == "oneOf" and isinstance(value, list) and "anyOf" not in schema:
        schema["anyOf"] = value
    return pointer, keyword


def _path(document: Any, pointer: str) -> list[tuple[dict[str, Any], str]]:
    """The objects on the way to `pointer`, as far as it leads, from the document on."""
    value: Any = document if isinstance(document, dict) else {}
    at, path = "", [(value, "")]
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            break
        at = child(at, name)
        if isinstance(value, dict):
            path.append((value, at))
    return path


def _schemas(value: Any, pointer: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every object inside a value, itself first."""
    pending = [(value, pointer)]
    while pending:
        item, at = pending.pop()
        if isinstance(item, dict):
            yield item, at
            pending += [(sub, child(at, name)) for name, sub in reversed(item.items())]
        elif isinstance(item, list):
            pending += [(sub, child(at, i)) for i, sub in enumerate(item)]
