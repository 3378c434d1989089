"""Parts in any order: one state for each set of parts seen, made when a text leads there.

A template holds what does not change: pool words separator, lo, hi, number of parts, and two for
each part, its expression and its flags. PERMUTE(template, seen, occurred) is what may follow where
the parts `seen` were, `occurred` of them counted as `lang.grammar_ir.Permute` says; its body is an
alternation of the parts that may come next, each with the PERMUTE that follows.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.entries import FACTOR_DEPTH, alt, cat
from sestina.backend.grammar.core.intern import intern, intern_words
from sestina.backend.grammar.core.memory import (
    BODY,
    COUNTED,
    EMPTY,
    EPSILON,
    FLAGS,
    INHERITED,
    KIND,
    NULLABLE,
    OK,
    PERMUTE,
    PERMUTED,
    POOL,
    RULE,
    SEEN_PARTS,
    STATUS,
    TEMPLATE,
    TOP,
    Words,
    has,
    min_len_of,
    node,
    push,
    x_of,
    y_of,
    z_of,
)

REQUIRED, REPEATS = 1, 2
"""Flags of a part."""

_SEPARATOR, _LO, _HI, _NUM_PARTS, _PARTS = range(5)


@jit_with_arrays
def permute(mem: Words, start: int) -> int:
    """The language of the template words mem[start : TOP]; parts that match nothing are dropped."""
    kept = start + _PARTS
    for k in range(start + _PARTS, mem[TOP], 2):
        if mem[k] != EMPTY:
            mem[kept], mem[kept + 1] = mem[k], mem[k + 1]
            kept += 2
        elif mem[k + 1] & REQUIRED:
            mem[TOP] = start
            return EMPTY
    mem[start + _NUM_PARTS] = (kept - start - _PARTS) // 2
    template = intern_words(mem, TEMPLATE, start, kept - start, 0, 0)
    mem[TOP] = start
    if mem[STATUS] != OK:
        return EMPTY
    seen = np.zeros(_num_words(mem, template), np.int64)
    if not _can_end(mem, template, seen, 0):
        return EMPTY
    return _state(mem, template, seen, 0)


@jit
def body(mem: Words, e: int) -> int:
    """What a RULE or PERMUTE stands for; that of the latter is made when it is first asked for."""
    n = node(mem, e)
    if mem[n + KIND] == RULE or mem[n + BODY]:
        return mem[n + BODY]
    found = _unfolded(mem, e)
    if mem[STATUS] == OK:
        mem[node(mem, e) + BODY] = found
    return found


@jit_with_arrays
def _unfolded(mem: Words, e: int) -> int:
    template, occurred = x_of(mem, e), z_of(mem, e)
    words = _num_words(mem, template)
    at = mem[POOL] + x_of(mem, y_of(mem, e))
    seen = mem[at : at + words].copy()
    parts = mem[POOL] + x_of(mem, template)
    start = mem[TOP]
    if has(mem, e, NULLABLE):
        push(mem, EPSILON)
    count = occurred + 1 if _is_counting(mem, template) else 1
    for i in range(mem[parts + _NUM_PARTS]):
        part, flags = mem[parts + _PARTS + 2 * i], mem[parts + _PARTS + 2 * i + 1]
        if (seen[i >> 6] >> (i & 63)) & 1 and not flags & REPEATS:
            continue
        following = _joined(mem, template, seen, i)
        if _can_end(mem, template, following, count):
            rest = cat(mem, part, _state(mem, template, following, count))
            push(mem, cat(mem, mem[parts + _SEPARATOR], rest) if occurred else rest)
    return alt(mem, start, FACTOR_DEPTH)


@jit
def _state(mem: Words, template: int, seen: Words, occurred: int) -> int:
    """The expression of a set and a count that can end."""
    start = mem[TOP]
    for bits_of_parts in seen:
        push(mem, bits_of_parts)
    bits = intern_words(mem, SEEN_PARTS, start, len(seen), 0, 0)
    mem[TOP] = start
    parts = mem[POOL] + x_of(mem, template)
    flags = PERMUTED | (mem[node(mem, mem[parts + _SEPARATOR]) + FLAGS] & INHERITED)
    missing_len = 0
    for i in range(mem[parts + _NUM_PARTS]):
        part = mem[parts + _PARTS + 2 * i]
        flags |= mem[node(mem, part) + FLAGS] & INHERITED
        if mem[parts + _PARTS + 2 * i + 1] & REQUIRED and not (seen[i >> 6] >> (i & 63)) & 1:
            missing_len += min_len_of(mem, part)
    flags &= ~COUNTED  # `clamp` leaves it as it is
    if _missing(mem, template, seen) <= 0:
        return intern(mem, PERMUTE, template, bits, occurred, flags | NULLABLE, 0)
    return intern(mem, PERMUTE, template, bits, occurred, flags, max(missing_len, 1))


@jit
def separator_of(mem: Words, e: int) -> int:
    """What stands between the parts of a PERMUTE, and first in it if z is not 0."""
    return mem[mem[POOL] + x_of(mem, x_of(mem, e)) + _SEPARATOR]


@jit_with_arrays
def all_parts(mem: Words, e: int) -> Words:
    """The parts of a PERMUTE, seen or not."""
    parts = mem[POOL] + x_of(mem, x_of(mem, e))
    return mem[parts + _PARTS : parts + _PARTS + 2 * mem[parts + _NUM_PARTS] : 2].copy()


@jit_with_arrays
def parts_to_come(mem: Words, e: int) -> tuple[Words, Words, int]:
    """The parts that must still come, those that may for the first time, how many of these must."""
    template = x_of(mem, e)
    at = mem[POOL] + x_of(mem, y_of(mem, e))
    seen = mem[at : at + _num_words(mem, template)]
    parts = mem[POOL] + x_of(mem, template)
    size = mem[parts + _NUM_PARTS]
    must, may = np.empty(size, np.int64), np.empty(size, np.int64)
    num_must, num_may = 0, 0
    for i in range(size):
        if (seen[i >> 6] >> (i & 63)) & 1:
            continue
        if mem[parts + _PARTS + 2 * i + 1] & REQUIRED:
            must[num_must] = mem[parts + _PARTS + 2 * i]
            num_must += 1
        else:
            may[num_may] = mem[parts + _PARTS + 2 * i]
            num_may += 1
    return must[:num_must], may[:num_may], _missing(mem, template, seen) - num_must


@jit
def _num_words(mem: Words, template: int) -> int:
    """Words of a set of parts."""
    return (mem[mem[POOL] + x_of(mem, template) + _NUM_PARTS] + 63) >> 6


@jit
def _is_counting(mem: Words, template: int) -> bool:
    """Whether it matters how many parts there were, beside which."""
    parts = mem[POOL] + x_of(mem, template)
    hi, size = mem[parts + _HI], mem[parts + _NUM_PARTS]
    repeats = False
    for i in range(size):
        repeats = repeats or mem[parts + _PARTS + 2 * i + 1] & REPEATS != 0
    return hi >= 0 and (repeats or hi < size)


@jit
def _num_seen(seen: Words) -> int:
    count = 0
    for bits in seen:
        left = bits
        while left:
            left &= left - 1
            count += 1
    return count


@jit
def _missing(mem: Words, template: int, seen: Words) -> int:
    """How many more parts are needed."""
    parts = mem[POOL] + x_of(mem, template)
    count = 0
    for i in range(mem[parts + _NUM_PARTS]):
        if mem[parts + _PARTS + 2 * i + 1] & REQUIRED and not (seen[i >> 6] >> (i & 63)) & 1:
            count += 1
    return max(count, mem[parts + _LO] - _num_seen(seen))


@jit
def _can_end(mem: Words, template: int, seen: Words, occurred: int) -> bool:
    """Whether enough parts can still come."""
    parts = mem[POOL] + x_of(mem, template)
    missing, hi = _missing(mem, template, seen), mem[parts + _HI]
    if hi >= 0 and missing > hi - occurred:
        return False
    return missing <= mem[parts + _NUM_PARTS] - _num_seen(seen)


@jit_with_arrays
def _joined(mem: Words, template: int, seen: Words, i: int) -> Words:
    """A set and one more part; with enough of them it does not matter which may repeat."""
    parts = mem[POOL] + x_of(mem, template)
    following = seen.copy()
    following[i >> 6] |= word(1) << word(i & 63)
    if _num_seen(following) >= mem[parts + _LO]:
        for k in range(mem[parts + _NUM_PARTS]):
            if mem[parts + _PARTS + 2 * k + 1] == REPEATS:
                following[k >> 6] |= word(1) << word(k & 63)
    return following
