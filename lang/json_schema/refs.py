"""JSON pointers (RFC 6901), and references inside a document that has no other resources."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from sestina.lang.errors import InvalidConstraint


def child(pointer: str, *tokens: str | int) -> str:
    """The pointer one or more steps below.

    >>> child("#", "a/b", 0)
    '#/a~1b/0'
    """
    for token in tokens:
        text = str(token)
        if "~" in text or "/" in text:
            text = text.replace("~", "~0").replace("/", "~1")
        pointer = f"{pointer}/{text}"
    return pointer


def follow(document: Any, ref: str, at: str) -> tuple[Any, str]:
    """What `ref`, a `#` and a JSON pointer, names in the document, and its pointer.

    InvalidConstraint, naming the place `at`, if it points nowhere.
    """
    pointer = unquote(ref[1:])
    target = document
    for token in pointer.split("/")[1:]:
        target = step(target, token, ref, at)
    return target, pointer


def step(target: Any, token: str, ref: str, at: str) -> Any:
    """One step of a pointer down."""
    token = token.replace("~1", "/").replace("~0", "~")
    if isinstance(target, dict) and token in target:
        return target[token]
    is_index = isinstance(target, list) and re.fullmatch("0|[1-9][0-9]{0,8}", token)
    if is_index and int(token) < len(target):
        return target[int(token)]
    raise InvalidConstraint(f"the reference {ref!r} points nowhere", pointer=at, keyword="$ref")
