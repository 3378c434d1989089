"""Writing the instructions that make a grammar's expressions; see `core.assemble`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sestina.backend.grammar.core import assemble as ops
from sestina.backend.grammar.core import calls
from sestina.backend.grammar.core.intern import SHARED_TAIL
from sestina.backend.grammar.core.memory import EMPTY, EPSILON, SET_WORDS
from sestina.backend.grammar.limits import Budget
from sestina.backend.grammar.machine import Machine

# So many words or more are put together by their beginnings, down to _MAX_TREE_DEPTH of those.
_MANY_WORDS = 8
_MAX_TREE_DEPTH = 50


class Instructions:
    """Instructions in the making; each method returns the number of one, for others to refer to."""

    def __init__(self, machine: Machine, budget: Budget) -> None:
        self._machine = machine
        self._budget = budget
        self._code: list[tuple[int, int, int, int]] = []
        self._args: list[int] = []
        self._known: dict[int, int] = {}
        self._words: dict[bytes, int] = {}

    def run(self) -> list[int]:
        """The expressions of all instructions. Call it under the machine's lock."""
        if not self._code:
            return []
        code = np.array(self._code, np.int64)
        args = np.array(self._args, np.int64)
        made: list[int] = self._machine.run(self._budget, ops.assemble, code, args).tolist()
        return made

    def known(self, expr: int) -> int:
        """An expression that exists."""
        found = self._known.get(expr)
        if found is None:
            found = self._known[expr] = self._add(ops.KNOWN, expr)
        return found

    def literal(self, data: bytes) -> int:
        """Exactly these bytes; nothing if the alphabet lacks one."""
        found = self._words.get(data)
        if found is None:
            found = self._words[data] = self._literal(data)
        return found

    def _literal(self, data: bytes) -> int:
        missing = self._machine.missing_bytes
        if missing and not missing.isdisjoint(data):
            return self.known(EMPTY)
        if len(data) <= SHARED_TAIL:
            return self._add(ops.LITERAL, *self._arguments(data))
        pooled = self._machine.literals
        at = pooled.get(data)
        if at is None:
            words = np.frombuffer(data, np.uint8)
            at = pooled[data] = self._machine.run(self._budget, calls.add_bytes, words)
        return self._add(ops.LONG, at, len(data))

    def byte_set(self, mask: int) -> int:
        """One byte of a 256-bit mask."""
        words = np.frombuffer(mask.to_bytes(8 * SET_WORDS, "little"), np.int64)
        return self._add(ops.SET, self._arguments(words.tolist())[0])

    def special(self, k: int) -> int:
        """The k-th control token that the machine knows."""
        return self._add(ops.SPECIAL, k)

    def cat(self, operands: Sequence[int]) -> int:
        if len(operands) == 1:
            return operands[0]
        return self._add(ops.CAT, *self._arguments(operands))

    def alt(self, operands: Sequence[int]) -> int:
        return self._add(ops.ALT, *self._arguments(operands))

    def both(self, operands: Sequence[int]) -> int:
        return self._add(ops.AND, *self._arguments(operands))

    def complement(self, operand: int) -> int:
        return self._add(ops.NOT, operand)

    def repeat(self, operand: int, lo: int, hi: int | None) -> int:
        return self._add(ops.REPEAT, operand, lo, -1 if hi is None else hi)

    def any_of(self, words: Sequence[bytes]) -> int:
        """Any of some literals: as a tree of their beginnings if there are many, so that a step
        looks at few of them."""
        return self._tree(sorted(set(words)), 0)

    def _tree(self, words: Sequence[bytes], depth: int) -> int:
        if len(words) < _MANY_WORDS or depth >= _MAX_TREE_DEPTH:
            return self.alt([self.literal(word) for word in words])
        shared = _shared_len(words[0], words[-1])
        branches: list[int] = []
        start = 0
        if len(words[0]) == shared:
            branches.append(self.known(EPSILON))
            start = 1
        while start < len(words):
            stop = start
            while stop < len(words) and words[stop][shared] == words[start][shared]:
                stop += 1
            rest = [word[shared:] for word in words[start:stop]]
            branches.append(self._tree(rest, depth + 1))
            start = stop
        whole = self.alt(branches)
        return self.cat([self.literal(words[0][:shared]), whole]) if shared else whole

    def _add(self, op: int, x: int = 0, y: int = 0, z: int = 0) -> int:
        self._code.append((op, x, y, z))
        return len(self._code) - 1

    def _arguments(self, values: Sequence[int] | bytes) -> tuple[int, int]:
        at = len(self._args)
        self._args += values
        return at, len(values)


def _shared_len(a: bytes, b: bytes) -> int:
    """How many bytes two words begin with alike; of a sorted list, first and last tell for all."""
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count
