"""Whether rules derive no text, some text or (also) the empty text."""

from __future__ import annotations

from collections.abc import Mapping

from sestina.lang import grammar_ir as ir
from sestina.lang.grammar_syntax.references import postorder

NO_TEXT, SOME_TEXT, EMPTY_TEXT = 0, 1, 2


class Values:
    """The value of every node, by identity: the least fixed point (Hopcroft and Ullman 1979, 4.4).

    A sequence has the least value of its parts, an alternation the greatest. `And` and `Not` are
    taken to match something. Each node's value rises at most twice and costs its users O(1), so
    the whole is linear in the grammar.
    """

    def __init__(self, bodies: Mapping[str, ir.Expr]) -> None:
        self._of: dict[int, int] = {}
        self._users: dict[int, list[ir.Expr]] = {}
        self._parts_at: dict[int, list[int]] = {}
        # Rule nodes are many, rules are one: what a body's value means for its references.
        self._references: dict[str, list[ir.Expr]] = {}
        self._roots: dict[int, list[str]] = {}
        self._rising: list[tuple[ir.Expr, int, int]] = []
        for name, body in bodies.items():
            self._enter(body)
            self._roots.setdefault(id(body), []).append(name)
            if self._of[id(body)]:
                self._rising.append((body, NO_TEXT, self._of[id(body)]))
        self._settle()

    def __getitem__(self, node: ir.Expr) -> int:
        return self._of[id(node)]

    def starts_empty(self, node: ir.Expr) -> bool:
        return self._of[id(node)] == EMPTY_TEXT

    def _enter(self, body: ir.Expr) -> None:
        """Values as if no rule derived anything."""
        for node in postorder(body):
            if id(node) in self._of:
                continue
            if isinstance(node, ir.Rule):
                self._references.setdefault(node.name, []).append(node)
            at = [0, 0, 0]  # how many parts have each value
            for part in ir.parts(node):
                self._users.setdefault(id(part), []).append(node)
                at[self._of[id(part)]] += 1
            self._parts_at[id(node)] = at
            self._of[id(node)] = self._value(node)

    def _value(self, node: ir.Expr) -> int:
        none, some, empty = self._parts_at[id(node)]
        if isinstance(node, ir.Rule):
            return NO_TEXT
        if isinstance(node, ir.Literal):
            return SOME_TEXT if node.data else EMPTY_TEXT
        if isinstance(node, ir.ByteSet):
            return SOME_TEXT if node.mask else NO_TEXT
        if isinstance(node, ir.Alt):
            return EMPTY_TEXT if empty else SOME_TEXT if some else NO_TEXT
        if isinstance(node, ir.Repeat) and node.lo == 0:
            return EMPTY_TEXT
        if isinstance(node, ir.Not):
            return SOME_TEXT if empty else EMPTY_TEXT
        if isinstance(node, ir.Special):
            return SOME_TEXT
        return NO_TEXT if none else SOME_TEXT if some else EMPTY_TEXT

    def _settle(self) -> None:
        for node, before, now in self._rising:  # grows while it is walked
            for user in self._users.get(id(node), ()):
                at = self._parts_at[id(user)]
                at[before] -= 1
                at[now] += 1
                self._rise(user, self._value(user))
            for name in self._roots.get(id(node), ()):
                for reference in self._references.get(name, ()):
                    self._rise(reference, now)

    def _rise(self, node: ir.Expr, value: int) -> None:
        before = self._of[id(node)]
        if value > before:
            self._of[id(node)] = value
            self._rising.append((node, before, value))
