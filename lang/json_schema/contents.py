"""Derived schemas by their content, so that what is derived twice is one object.

Rules are shared by the identity of a schema. Schemas in the document keep theirs, as each has its
place in the report; of those that are derived from them, equal ones become one. There are finitely
many conjunctions of finitely many parts, so that recursion through merged schemas ends in rules.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class Contents:
    """Cost: what is new in a schema, once; parts of the document are looked up by identity."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.given = _containers(document)
        self.numbers: dict[Hashable, int] = {}
        # By identity, which is no other's as long as the value lives: what was first, the number
        # that the two share, and the value, to keep it alive.
        self.known: dict[int, tuple[Any, int, Any]] = {}
        self.firsts: list[Any] = []

    def first(self, schema: Any) -> Any:
        """The first schema of the same content."""
        if not isinstance(schema, dict) or id(schema) in self.given:
            return schema
        return (self.known.get(id(schema)) or self.read(schema))[0]

    def read(self, value: Any) -> tuple[Any, int, Any]:
        """Take note of a container that is not known yet."""
        number = self.numbers.setdefault(self.content(value), len(self.numbers))
        if number == len(self.firsts):
            self.firsts.append(value)
        found = self.known[id(value)] = (self.firsts[number], number, value)
        return found

    def content(self, value: Any) -> Hashable:
        if id(value) in self.given:
            return ("given", id(value))
        if isinstance(value, dict):
            return ("object", *((key, self.part(item)) for key, item in value.items()))
        return (type(value).__name__, *map(self.part, value))

    def part(self, value: Any) -> Hashable:
        if isinstance(value, (dict, list, tuple)):
            return (self.known.get(id(value)) or self.read(value))[1]
        return (type(value).__name__, value)


def _containers(document: Any) -> frozenset[int]:
    """The identities of all objects and lists in a document."""
    found: set[int] = set()
    pending = [document] if isinstance(document, _CONTAINERS) else []
    while pending:
        value = pending.pop()
        if id(value) not in found:
            found.add(id(value))
            parts = value.values() if isinstance(value, dict) else value
            pending += [part for part in parts if isinstance(part, _CONTAINERS)]
    return frozenset(found)


_CONTAINERS = (dict, list)
