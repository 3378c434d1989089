"""Counters clamped to what one token can tell apart, so that `.{0,500}` has few masks, not 500."""

from __future__ import annotations

from collections.abc import Iterable

from sestina.backend.grammar.expr import Arena, Kind, resolve

SHORT_LEN = 32
"""Bytes that masks look ahead with counters clamped. The tokens that are longer are few (runs of
spaces or dashes) and are walked with the counters as they are."""


class Clamp:
    """For each expression, a simpler one with the same beginnings of up to `max_len` bytes.

    A copy in `item{lo,hi}` takes at least one byte (empty ones need not be taken), so `max_len`
    bytes never reach an upper bound above max_len, nor leave a loop whose lower bound is. Hence
    every token of at most max_len bytes is allowed by both or by neither, and both accept the
    empty text or neither does. `And` and `Not` are left alone: there a counter can decide whether
    anything matches at all.
    """

    def __init__(self, arena: Arena, max_len: int) -> None:
        self.arena = arena
        self.max_len = max_len
        self._memo: dict[int, int] = {}

    def of(self, e: int) -> int:
        """The clamped expression. O(parts of e not met before)."""
        return resolve(e, self._memo, self._operands, self._combine)

    def _operands(self, e: int) -> Iterable[int]:
        kind, args = self.arena.kind[e], self.arena.args[e]
        if kind in (Kind.CAT, Kind.ALT):
            return args
        return args[:1] if kind is Kind.REPEAT else ()

    def _combine(self, e: int) -> int:
        kind, args = self.arena.kind[e], self.arena.args[e]
        if kind is Kind.CAT:
            return self.arena.cat(self._memo[args[0]], self._memo[args[1]])
        if kind is Kind.ALT:
            return self.arena.alt(self._memo[part] for part in args)
        if kind is Kind.REPEAT:
            item, lo, hi = args
            lo = min(lo, self.max_len + 1)
            hi = None if hi is None or hi > self.max_len else hi
            return self.arena.repeat(self._memo[item], lo, hi)
        return e
