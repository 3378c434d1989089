"""Parts in any order, each at most once: properties in any order, arrays of distinct constants."""

from __future__ import annotations

from collections.abc import Iterable

from sestina.lang.expr import is_nothing, maybe, seq, times
from sestina.lang.grammar_ir import NOTHING, Expr, Part, Permute


def any_order(parts: Iterable[Part], separator: Expr, lo: int = 0, hi: int | None = None) -> Expr:
    """What `Permute` describes; NOTHING if there is no such text."""
    live: list[Part] = []
    for part in parts:
        if not is_nothing(part.item):
            live.append(part)
        elif part.required:
            return NOTHING
    if len(live) == 1 and lo <= 1 and hi != 0:
        return _one_part(live[0], separator, lo, hi)
    needed = max(lo, sum(part.required for part in live))
    if needed > len(live) or (hi is not None and needed > hi):
        return NOTHING
    return Permute(tuple(live), separator, lo, hi)


def _one_part(part: Part, separator: Expr, lo: int, hi: int | None) -> Expr:
    most = hi if part.repeats else 1
    more = times(seq(separator, part.item), 0, None if most is None else most - 1)
    text = seq(part.item, more)
    return text if part.required or lo else maybe(text)
