"""The arena's expressions as the arrays that `sestina.kernels.token_mask` walks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.derivative import Derivatives
from sestina.backend.grammar.expr import EVERY_BYTE, Arena, Kind
from sestina.kernels.token_mask import program as ops

Row = tuple[int, int, int, int]

# A loop over so many bytes or more is walked as an automaton, if its item has at most _MAX_ITEM
# parts and none of them is itself a loop of more than _MAX_COPIES.
_WIDE = 16
_MAX_ITEM = 500
_MAX_COPIES = 8

_WORD = (1 << 32) - 1


class Packed:
    """A copy of an arena in arrays, brought up to date before each walk. O(1) an expression.

    What `is_state` names is a STATE of the automaton. That is found out only for what is walked, at
    the cost of whoever walks it: until then, and until a rule has its body, it is a STATE with the
    number ~expression, which the walk reports as unknown, and `settle` says what it is.
    """

    def __init__(self, arena: Arena, derivatives: Derivatives) -> None:
        self._arena = arena
        self._derivatives = derivatives
        self._is_wide: dict[int, bool] = {}
        self._code: NDArray[np.int32] = np.zeros((1024, ops.NUM_FIELDS), np.int32)
        self._pool: NDArray[np.int32] = np.zeros(4096, np.int32)
        self._num_packed = 0
        self._pool_len = 0
        self._literals: dict[bytes, int] = {}

    @property
    def nbytes(self) -> int:
        return self._code.nbytes + self._pool.nbytes

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(code, pool) of every expression there is; see `sestina.kernels.token_mask.Program`."""
        first, stop = self._num_packed, len(self._arena)
        if first < stop:
            rows = [self._row(e) for e in range(first, stop)]
            if stop > len(self._code):
                self._code = _grown(self._code, stop)
            self._code[first:stop] = rows
            self._num_packed = stop
        return self._code, self._pool

    def is_state(self, e: int) -> bool:
        """This is walked as an automaton: `And` and `Not`, which cannot be walked otherwise, and
        loops over many characters, which have few states and would make many threads."""
        kind = self._arena.kind[e]
        if kind is not Kind.REPEAT:
            return kind is Kind.AND or kind is Kind.NOT
        item = self._arena.args[e][0]
        found = self._is_wide.get(item)
        if found is None:
            found = self._is_wide[item] = self._is_flat(item) and (
                sum((mask & EVERY_BYTE).bit_count() for mask, _ in self._derivatives.of(item))
                >= _WIDE
            )
        return found

    def _is_flat(self, item: int) -> bool:
        arena = self._arena
        todo = [item]
        for count, e in enumerate(todo):
            kind, args = arena.kind[e], arena.args[e]
            if count > _MAX_ITEM or kind in (Kind.RULE, Kind.AND, Kind.NOT):
                return False
            if kind in (Kind.CAT, Kind.ALT):
                todo += args
            elif kind is Kind.REPEAT:
                if args[2] is None or args[2] > _MAX_COPIES:
                    return False
                todo += args[:1] * args[2]
        return True

    def settle(self, e: int, state_of: Callable[[int], int]) -> None:
        """Say how e is walked from now on; state_of(e) makes a state for it if it is to be one."""
        kind, args = self._arena.kind[e], self._arena.args[e]
        if kind is Kind.RULE:
            self._code[e] = (ops.RULE, self._arena.rule_body[e], 0, 0)
        elif self.is_state(e):
            self._code[e] = (ops.STATE, state_of(e), 0, 0)
        else:
            self._code[e] = _repeat(args)

    def _row(self, e: int) -> Row:
        kind, args = self._arena.kind[e], self._arena.args[e]
        if kind is Kind.CAT:
            return (ops.CAT, args[0], args[1], 0)
        if kind is Kind.LITERAL:
            data, offset = args
            return (ops.LITERAL, self._literal(data) + offset, len(data) - offset, 0)
        if kind is Kind.REPEAT and self._is_wide.get(args[0]) is False:
            return _repeat(args)
        if kind is Kind.ALT:
            return (ops.ALT, self._extend(args), len(args), 0)
        if kind is Kind.SET:
            words = [args[0] >> (32 * w) & _WORD for w in range(ops.SET_WORDS)]
            return (ops.SET, self._extend([w - (w >> 31 << 32) for w in words]), 0, 0)
        if kind is Kind.RULE and e in self._arena.rule_body:
            return (ops.RULE, self._arena.rule_body[e], 0, 0)
        if kind in (Kind.EMPTY, Kind.EPSILON):
            return (ops.EPSILON if kind is Kind.EPSILON else ops.NOTHING, 0, 0, 0)
        return (ops.STATE, ~e, 0, 0)

    def _literal(self, data: bytes) -> int:
        found = self._literals.get(data)
        if found is None:
            found = self._literals[data] = self._extend(data)
        return found

    def _extend(self, words: bytes | list[int] | tuple[int, ...]) -> int:
        first, stop = self._pool_len, self._pool_len + len(words)
        if stop > len(self._pool):
            self._pool = _grown(self._pool, stop)
        self._pool[first:stop] = list(words)
        self._pool_len = stop
        return first


def _repeat(args: tuple[Any, ...]) -> Row:
    item, lo, hi = args
    return (ops.REPEAT, item, lo, -1 if hi is None else hi)


def _grown(old: NDArray[np.int32], at_least: int) -> NDArray[np.int32]:
    new = np.zeros((2 * at_least, *old.shape[1:]), np.int32)
    new[: len(old)] = old
    return new
