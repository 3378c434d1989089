"""Exact liveness: telling languages that `And` and `Not` leave empty from those with some text."""

from __future__ import annotations

from collections.abc import Iterable

from sestina.backend.grammar.derivative import Derivatives
from sestina.backend.grammar.expr import EMPTY, Arena, Kind, resolve


class Liveness:
    """Memoised emptiness over one arena.

    Only `And` and `Not` need a search: every other expression is empty exactly when its parts make
    it EMPTY. The search walks derivatives, of which a rule-free expression has finitely many, until
    one that surely matches something; all that lead to it are then known to be alive, and if the
    search runs dry everything it saw is dead.
    """

    def __init__(self, arena: Arena, derivatives: Derivatives) -> None:
        self.arena = arena
        self.derivatives = derivatives
        self._live: dict[int, int] = {}
        self._dead: dict[int, bool] = {}

    def live(self, e: int) -> int:
        """The same language without dead alternatives: EMPTY exactly when e matches nothing."""
        if not self.arena.boolean[e]:
            return e
        return resolve(e, self._live, self._operands, self._prune)

    def _operands(self, e: int) -> Iterable[int]:
        if not self.arena.boolean[e]:
            return ()
        kind, args = self.arena.kind[e], self.arena.args[e]
        # A tail comes from the grammar as compiled, whose parts are live already.
        return args[:1] if kind is Kind.CAT else args if kind is Kind.ALT else ()

    def _prune(self, e: int) -> int:
        if not self.arena.boolean[e]:
            return e
        kind, args = self.arena.kind[e], self.arena.args[e]
        if kind is Kind.CAT:
            return self.arena.cat(self._live[args[0]], args[1])
        if kind is Kind.ALT:
            return self.arena.alt(self._live[part] for part in args)
        if kind in (Kind.AND, Kind.NOT) and self._is_dead(e):
            return EMPTY
        return e

    def _surely_alive(self, e: int) -> bool:
        return self.arena.nullable[e] or not self.arena.boolean[e] or self._dead.get(e) is False

    def _is_dead(self, e: int) -> bool:
        if self._surely_alive(e):
            return False
        if e not in self._dead:
            self._search(e)
        return self._dead[e]

    def _search(self, start: int) -> None:
        """Decide `start`; depth first, since one text is enough."""
        came_from: dict[int, list[int]] = {start: []}
        stack = [start]
        steps = 0
        while stack:
            e = stack.pop()
            steps += 1
            limits = self.arena.budget.limits
            if steps > limits.max_liveness_steps:
                raise limits.exceeded("max_liveness_steps")
            for _, left in self.derivatives.of(e):
                if self._surely_alive(left):
                    self._mark_alive(e, came_from)
                elif left in came_from:
                    came_from[left].append(e)
                elif left not in self._dead:
                    came_from[left] = [e]
                    stack.append(left)
            if start in self._dead:
                return
        for e in came_from:
            self._dead.setdefault(e, True)

    def _mark_alive(self, e: int, came_from: dict[int, list[int]]) -> None:
        stack = [e]
        while stack:
            each = stack.pop()
            if self._dead.get(each) is not False:
                self._dead[each] = False
                stack.extend(came_from[each])
