"""Where in a JSON value a text was refused, from the text up to there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

_SPACE = " \t\n\r"
_AFTER_SCALAR = f",]}}{_SPACE}"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a JSON text.

    part: "value" is in the value at `path`, or before its first character; "name" is where the
    object at `path` wants the name of a member; "member" and "item" are behind one of the object or
    the array at `path`, or before its end; "end" is behind the whole value.
    names: the members that the object at `path` has before the place. begins: the offset where the
    name that is wanted begins, for "name".
    """

    path: tuple[str | int, ...]
    part: Literal["value", "name", "member", "item", "end"]
    names: tuple[str, ...] = ()
    begins: int = 0

    @property
    def pointer(self) -> str:
        """The JSON pointer of `path`."""
        steps = (str(step).replace("~", "~0").replace("/", "~1") for step in self.path)
        return "".join(f"/{step}" for step in steps)


@dataclass(slots=True)
class _Container:
    is_object: bool
    names: list[str] = field(default_factory=list)
    index: int = 0

    @property
    def step(self) -> str | int:
        return self.names[-1] if self.is_object else self.index


def locate(before: str, refused: str, *, scalar_may_end: bool) -> Place:
    """Where a text that began as `before` was refused.

    before: the beginning of a JSON text. refused: the character after it, "" where the text ended.
    scalar_may_end: whether a number (or a literal) at the end of `before` was complete: it decides
    what a comma behind it was refused for. Cost: one pass, however deep the text nests.

    >>> locate('{"a": [1, 2', "3", scalar_may_end=True).pointer
    '/a/1'
    >>> locate('{"a": [1, 2', "}", scalar_may_end=True).pointer
    '/a'
    """
    return _Scan(before).place(refused, scalar_may_end)


class _Scan:
    """One pass over the text; `wants` is what should come where it ends."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stack: list[_Container] = []
        self.name_begins: int | None = None
        self.wants: Literal["value", "name", "colon", "after", "in value", "in scalar"] = "value"
        at = 0
        while at < len(text):
            at = self._take(at)

    def _take(self, at: int) -> int:
        """Read what begins at `at`; the place behind it."""
        char = self.text[at]
        if char in _SPACE:
            return at + 1
        if char in "{[":
            self.stack.append(_Container(char == "{"))
            self.wants = "name" if char == "{" else "value"
        elif char in "}]":
            if self.stack:
                self.stack.pop()
            self.wants = "after"
        elif char == ",":
            self._next_member()
        elif char == ":":
            self.wants, self.name_begins = "value", None
        elif char == '"':
            return self._string(at)
        else:
            return self._scalar(at)
        return at + 1

    def _next_member(self) -> None:
        if self.stack:
            self.stack[-1].index += 1
            self.wants = "name" if self.stack[-1].is_object else "value"

    def _string(self, at: int) -> int:
        end = _string_end(self.text, at)
        if self.wants == "name":
            self.name_begins = at
            if end is None:
                return len(self.text)
            self.stack[-1].names.append(_decoded(self.text[at:end]))
            self.wants = "colon"
        else:
            self.wants = "in value" if end is None else "after"
        return len(self.text) if end is None else end

    def _scalar(self, at: int) -> int:
        end = at
        while end < len(self.text) and self.text[end] not in _AFTER_SCALAR:
            end += 1
        self.wants = "in scalar" if end == len(self.text) else "after"
        return end

    def place(self, refused: str, scalar_may_end: bool) -> Place:
        wants = self.wants
        if wants == "in scalar":
            is_over = scalar_may_end and (not refused or refused in _AFTER_SCALAR)
            wants = "after" if is_over else "in value"
        if wants in ("name", "value") and refused and refused in "]}" and self.stack:
            wants = "after"
        if wants in ("value", "in value"):
            return Place(self._path(len(self.stack)), "value")
        if not self.stack:
            return Place((), "end")
        top = self.stack[-1]
        names = tuple(top.names[:-1] if wants == "colon" else top.names)
        path = self._path(len(self.stack) - 1)
        if wants == "after":
            return Place(path, "member" if top.is_object else "item", names)
        begins = len(self.text) if self.name_begins is None else self.name_begins
        return Place(path, "name", names, begins)

    def _path(self, depth: int) -> tuple[str | int, ...]:
        return tuple(container.step for container in self.stack[:depth])


def name_from(text: str, at: int) -> str | None:
    """The member name that begins at `at`, None if no whole string does."""
    while at < len(text) and text[at] in _SPACE:
        at += 1
    end = _string_end(text, at) if text.startswith('"', at) else None
    return None if end is None else _decoded(text[at:end])


def _string_end(text: str, at: int) -> int | None:
    """The place behind the string that begins at `at`, None if it has no end."""
    at += 1
    while at < len(text):
        if text[at] == '"':
            return at + 1
        at += 2 if text[at] == "\\" else 1
    return None


def _decoded(literal: str) -> str:
    try:
        value = json.loads(literal, strict=False)
    except ValueError:
        return literal[1:-1]
    return str(value)
