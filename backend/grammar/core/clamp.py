"""Counters clamped to what one token can tell apart, so that `.{0,500}` has few masks, not 500."""

from __future__ import annotations

from sestina.backend.grammar.core.compiled import jit
from sestina.backend.grammar.core.entries import FACTOR_DEPTH, alt, both, cat, live, repeat
from sestina.backend.grammar.core.entries import clamped as clamped_part
from sestina.backend.grammar.core.memory import (
    ALT,
    CAT,
    CLAMP_KEY,
    COUNTED,
    DEPTH,
    OK,
    POOL,
    REPEAT,
    STATUS,
    TOP,
    Words,
    has,
    kind_of,
    min_len_of,
    push,
    recall,
    remember,
    x_of,
    y_of,
    z_of,
)

# What comes first is counted in steps of so many bytes, so that tails are asked for alike.
_GRAIN = 16

# Counters that are nested more deeply are left as they are.
_MAX_DEPTH = 200


@jit
def clamped(mem: Words, e: int, max_len: int) -> int:
    """A simpler expression with the same beginnings of up to `max_len` bytes as e.

    A copy in `item{lo,hi}` takes at least one byte (empty ones need not be taken), so `max_len`
    bytes never reach an upper bound above max_len, nor leave a loop whose lower bound is. Hence
    every token of at most max_len bytes is allowed by both or by neither, and both accept the
    empty text or neither does. And and Not are left alone: there a counter can decide whether
    anything matches at all. Nor is what begins about max_len bytes on looked at. O(1) for what was
    asked before, else O(parts with counters within reach).
    """
    if max_len <= 0 or not has(mem, e, COUNTED) or mem[DEPTH] >= _MAX_DEPTH:
        return e
    known = recall(mem, e, CLAMP_KEY + max_len)
    if known >= 0:
        return known
    mem[DEPTH] += 1
    kind = kind_of(mem, e)
    found = e
    if kind == CAT:
        found = _clamped_sequence(mem, e, max_len)
    elif kind == ALT:
        start = mem[TOP]
        for k in range(y_of(mem, e)):
            push(mem, clamped_part(mem, mem[mem[POOL] + x_of(mem, e) + k], max_len))
        found = alt(mem, start, FACTOR_DEPTH)
    elif kind == REPEAT:
        lo, hi = min(y_of(mem, e), max_len + 1), z_of(mem, e)
        item = clamped_part(mem, x_of(mem, e), max_len)
        found = repeat(mem, item, lo, -1 if hi > max_len else hi)
    mem[DEPTH] -= 1
    remember(mem, e, CLAMP_KEY + max_len, found)
    return found


@jit
def loosened(mem: Words, e: int, max_len: int) -> int:
    """An And whose parts, but for the Nots, have their counters clamped: it has all texts that e
    has, and of up to `max_len` bytes no others.

    So where it can go on to some text so short, e can, too.
    """
    start = mem[TOP]
    for k in range(y_of(mem, e)):
        push(mem, clamped_part(mem, mem[mem[POOL] + x_of(mem, e) + k], max_len))
    return live(mem, both(mem, start))


@jit
def _clamped_sequence(mem: Words, e: int, max_len: int) -> int:
    """`clamped` of a CAT, factor by factor: it may have very many."""
    start, rest = mem[TOP], max_len
    while kind_of(mem, e) == CAT and rest > 0 and has(mem, e, COUNTED):
        if recall(mem, e, CLAMP_KEY + rest) >= 0:
            break
        head = x_of(mem, e)
        push(mem, e)
        push(mem, rest)
        push(mem, clamped_part(mem, head, rest))
        if mem[STATUS] != OK:
            mem[TOP] = start
            return e
        rest -= min_len_of(mem, head) // _GRAIN * _GRAIN
        e = y_of(mem, e)
    found = clamped_part(mem, e, rest)
    while mem[TOP] > start:
        mem[TOP] -= 3
        entry = mem[TOP]
        found = cat(mem, mem[entry + 2], found)
        remember(mem, mem[entry], CLAMP_KEY + mem[entry + 1], found)
    return found
