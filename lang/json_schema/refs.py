"""Local references inside a schema: JSON pointers (RFC 6901) and `$anchor`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from sestina.lang.errors import InvalidConstraint, UnsupportedConstraint


def child(pointer: str, *tokens: str | int) -> str:
    """The pointer one or more steps below.

    >>> child("#", "a/b", 0)
    '#/a~1b/0'
    """
    steps = (str(token).replace("~", "~0").replace("/", "~1") for token in tokens)
    return "/".join([pointer, *steps])


def has_reference(schema: Any) -> bool:
    """Whether any `$ref` may stand inside, for which an `$id` would be the base."""
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if any(key in value for key in ("$ref", "$dynamicRef", "$recursiveRef")):
                return True
            pending += value.values()
        elif isinstance(value, (list, tuple)):
            pending += value
    return False


def resolve(document: Any, ref: str, at: str) -> tuple[Any, str]:
    """The schema that `$ref` names and its pointer; `at` is the place of the reference.

    UnsupportedConstraint for references out of the document, InvalidConstraint for broken ones.
    """
    base, _, fragment = ref.partition("#")
    root_id = document.get("$id", "") if isinstance(document, dict) else ""
    if base and base != str(root_id).rstrip("#"):
        raise UnsupportedConstraint(
            f"the reference {ref!r} leaves the schema", pointer=at, keyword="$ref"
        )
    fragment = unquote(fragment)
    if fragment and not fragment.startswith("/"):
        fragment = _anchor(document, fragment, at)
    target = document
    for token in fragment.split("/")[1:]:
        target = _step(target, token.replace("~1", "/").replace("~0", "~"), ref, at)
        if isinstance(target, dict) and isinstance(target.get("$id"), str):
            raise UnsupportedConstraint(
                f"the reference {ref!r} enters a schema with an $id", pointer=at, keyword="$ref"
            )
    return target, fragment


def _step(target: Any, token: str, ref: str, at: str) -> Any:
    if isinstance(target, dict) and token in target:
        return target[token]
    is_index = isinstance(target, list) and re.fullmatch("0|[1-9][0-9]{0,8}", token)
    if is_index and int(token) < len(target):
        return target[int(token)]
    raise InvalidConstraint(f"the reference {ref!r} points nowhere", pointer=at, keyword="$ref")


def _anchor(document: Any, name: str, at: str) -> str:
    """The pointer of the schema with this `$anchor`."""
    found = []
    pending = [(document, "")]
    while pending:
        value, pointer = pending.pop()
        items: Any = enumerate(value) if isinstance(value, list) else ()
        if isinstance(value, dict):
            if value.get("$anchor") == name:
                found.append(pointer)
            items = ((k, v) for k, v in value.items() if k not in ("enum", "const"))
        pending += [
            (item, child(pointer, key))
            for key, item in items
            if not (isinstance(item, dict) and isinstance(item.get("$id"), str))
        ]
    if len(found) != 1:
        raise InvalidConstraint(
            f"{len(found)} schemas have the anchor {name!r}", pointer=at, keyword="$ref"
        )
    return found[0]
