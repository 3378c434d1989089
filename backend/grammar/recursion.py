"""Whether the intersection of a recursive language with regular ones has a text in it.

The question behind `And` of one operand with rules and any number without. Its derivatives are
without end, so walking them does not decide it. Instead: for a part e of the grammar and a state d
of the regular side, which states can d be in after a text of e? These sets are the least fixed
point of equations over (e, d), the construction by which a context-free language is intersected
with a regular one (Bar-Hillel, Perles, Shamir 1961). There is a text if an accepting state is among
those reached from (whole, start).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sestina.backend.grammar.core import calls, memory
from sestina.backend.grammar.limits import Budget

if TYPE_CHECKING:
    from sestina.backend.grammar.machine import Machine

State = tuple[int, ...]
"""Live expressions without rules, all of which read the text at once."""

Key = tuple[int, State]


class Recursion:
    """What was found out about one machine's expressions; kept, since the next question, a byte
    later, is made of the same parts. The machine's lock guards it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._reached: dict[Key, frozenset[State]] = {}
        self._users: dict[Key, set[Key]] = {}

    def matches_something(self, budget: Budget, e: int) -> bool:
        """Whether an AND with rules in one part has a text.

        Raises ConstraintLimitExceeded after `max_liveness_steps` equations. O(parts x states^2).
        """
        open_part, state = self._split(e)
        return any(map(self._accepts, self._solve(budget, (open_part, state))))

    def _split(self, e: int) -> Key:
        """The part of an AND that has rules, and the others."""
        _, x, count, _, _ = self._columns(e)
        at = self._machine.mem.item(memory.POOL) + x
        parts = self._machine.mem[at : at + count].tolist()
        has_rules = [bool(self._machine.flags(p) & memory.RECURSIVE) for p in parts]
        return (
            parts[has_rules.index(True)],
            tuple(p for p, has in zip(parts, has_rules, strict=True) if not has),
        )

    def _accepts(self, state: State) -> bool:
        return all(map(self._machine.is_accepting, state))

    def _columns(self, e: int) -> list[int]:
        columns: list[int] = calls.columns_of(self._machine.mem, e).tolist()
        return columns

    def _solve(self, budget: Budget, key: Key) -> frozenset[State]:
        if key in self._reached:
            return self._reached[key]
        steps = 0
        todo = [key]
        try:
            self._reached[key] = frozenset()
            while todo:
                one = todo.pop()
                steps += 1
                if steps > budget.limits.max_liveness_steps:
                    raise budget.limits.exceeded("max_liveness_steps")
                found = frozenset(self._states_after(budget, one, todo))
                if not found <= self._reached[one]:
                    self._reached[one] = found
                    todo += self._users.get(one, ())
        except BaseException:
            # What is there is not the fixed point yet.
            self._reached.clear()
            self._users.clear()
            raise
        return self._reached[key]

    def _after(self, user: Key, e: int, state: State, todo: list[Key]) -> frozenset[State]:
        """What is known so far about (e, state), which `user` is to hear news of."""
        key = (e, state)
        self._users.setdefault(key, set()).add(user)
        if key not in self._reached:
            self._reached[key] = frozenset()
            todo.append(key)
        return self._reached[key]

    def _states_after(self, budget: Budget, key: Key, todo: list[Key]) -> Iterator[State]:
        """One equation: the states after e, by those after its parts."""
        e, state = key
        kind, x, y, _, flags = self._columns(e)
        if kind == memory.EPSILON_KIND:
            yield state
        elif kind == memory.SET:
            yield from self._after_set(budget, x, state)
        elif kind == memory.LITERAL:
            at = self._machine.mem.item(memory.POOL) + x
            after: State | None = state
            for byte in self._machine.mem[at : at + y].tolist():
                after = None if after is None else self._step(budget, after, byte)
            if after is not None:
                yield after
        elif kind == memory.CAT:
            for middle in self._after(key, x, state, todo):
                yield from self._after(key, y, middle, todo)
        elif kind == memory.ALT:
            at = self._machine.mem.item(memory.POOL) + x
            for part in self._machine.mem[at : at + y].tolist():
                yield from self._after(key, part, state, todo)
        elif kind == memory.REPEAT:
            if y == 0:
                yield state
            rest = self._machine.run(budget, calls.one_less, e)
            for middle in self._after(key, x, state, todo):
                yield from self._after(key, rest, middle, todo)
        elif kind in (memory.RULE, memory.PERMUTE):
            body = self._machine.run(budget, calls.language_of, e)
            yield from self._after(key, body, state, todo)
        elif kind == memory.AND and flags & memory.RECURSIVE:
            open_part, more = self._split(e)
            # What begins alike goes on alike: once is enough, and keeps the states few.
            together = tuple(sorted({*more, *state}))
            for both in self._after(key, open_part, together, todo):
                now = dict(zip(together, both, strict=True))
                if self._accepts(tuple(now[part] for part in more)):
                    yield tuple(now[part] for part in state)
        elif kind in (memory.AND, memory.NOT):
            yield from self._after_regular(budget, e, state)

    def _after_set(self, budget: Budget, x: int, state: State) -> Iterator[State]:
        at = self._machine.mem.item(memory.POOL) + x
        words = self._machine.mem[at : at + memory.SET_WORDS]
        inside = np.unpackbits(words.view(np.uint8), bitorder="little")
        for byte in np.flatnonzero(inside).tolist():
            after = self._step(budget, state, byte)
            if after is not None:
                yield after

    def _after_regular(self, budget: Budget, e: int, state: State) -> Iterator[State]:
        """The states after a language without rules: walk both side by side."""
        seen = {(e, state)}
        todo = [(e, state)]
        while todo:
            part, at = todo.pop()
            if self._machine.is_accepting(part):
                yield at
            for byte in range(memory.NUM_BYTES):
                after = self._step(budget, (part, *at), byte)
                if after is not None and (after[0], after[1:]) not in seen:
                    seen.add((after[0], after[1:]))
                    todo.append((after[0], after[1:]))
                    if len(seen) > budget.limits.max_liveness_steps:
                        raise budget.limits.exceeded("max_liveness_steps")

    def _step(self, budget: Budget, state: State, byte: int) -> State | None:
        """All of a state's expressions after a byte; None if one is dead."""
        after = []
        for part in state:
            left = self._machine.run(budget, calls.remainder, part, byte)
            if left == memory.EMPTY:
                return None
            after.append(left)
        return tuple(after)
