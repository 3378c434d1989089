"""Alternations and intersections: flat, sorted, with what their parts share pulled together.

Operands are gathered on the core's stack: push them, then call with where the first one stands.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core import entries
from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.intern import (
    byte_set,
    cat,
    head_of,
    intern_words,
    repeat,
    tail_of,
    work,
)
from sestina.backend.grammar.core.memory import (
    ALL,
    ALT,
    AND,
    BOOLEAN,
    EMPTY,
    EPSILON,
    FLAGS,
    INHERITED,
    LONG,
    NOT,
    NULLABLE,
    OK,
    POOL,
    RECURSIVE,
    REPEAT,
    SET,
    SET_WORDS,
    STATUS,
    TOP,
    Words,
    has,
    kind_of,
    min_len_of,
    node,
    push,
    x_of,
    y_of,
    z_of,
)

# So many loops at the heads of one alternation are looked at for counters to merge.
_MAX_LOOPS = 64


@jit
def alt(mem: Words, start: int, depth: int) -> int:
    """Any of the expressions mem[start : TOP], which are taken off the stack.

    depth: how many equal heads in a row are factored out.
    """
    count = _flatten(mem, start, ALT, EMPTY)
    if count > 1:
        count = _merge_sets(mem, start, count, ALT)
    if count > 1:
        count = _merge_counters(mem, start, count)
    if count > 1 and depth > 0:
        count = _factor_heads(mem, start, count, depth)
    result = _finished_alt(mem, start, count)
    mem[TOP] = start
    return result


@jit
def _finished_alt(mem: Words, start: int, count: int) -> int:
    if mem[STATUS] != OK:
        return EMPTY
    flags, shortest, nullable_part = 0, LONG, False
    has_epsilon = False
    for k in range(start, start + count):
        e = mem[k]
        if e == ALL:
            return ALL
        has_epsilon = has_epsilon or e == EPSILON
        nullable_part = nullable_part or (e != EPSILON and has(mem, e, NULLABLE))
        flags |= mem[node(mem, e) + FLAGS] & (INHERITED | NULLABLE)
        shortest = min(shortest, min_len_of(mem, e))
    if has_epsilon and nullable_part:
        count = _without(mem, start, count, EPSILON)
    if count < 2:
        return mem[start] if count else EMPTY
    return intern_words(mem, ALT, start, count, flags, shortest)


@jit
def _flatten(mem: Words, start: int, kind: int, neutral: int) -> int:
    """Replace nested alternations by their parts; sorted, each once. Returns how many there are."""
    stop = mem[TOP]
    work(mem, stop - start)
    kept = start
    for k in range(start, stop):
        e = mem[k]
        if kind_of(mem, e) == kind:
            words = mem[POOL] + x_of(mem, e)
            for i in range(y_of(mem, e)):
                push(mem, mem[words + i])
        elif e != neutral:
            mem[kept] = e
            kept += 1
    work(mem, mem[TOP] - stop)
    for k in range(stop, mem[TOP]):
        mem[kept] = mem[k]
        kept += 1
    mem[TOP] = kept
    return _sort(mem, start, kept - start)


@jit_with_arrays
def _sort(mem: Words, start: int, count: int) -> int:
    """Sort and drop what occurs twice; returns how many are left."""
    if count > 24:
        mem[start : start + count].sort()
    else:
        for i in range(start + 1, start + count):
            e = mem[i]
            j = i - 1
            while j >= start and mem[j] > e:
                mem[j + 1] = mem[j]
                j -= 1
            mem[j + 1] = e
    kept = start
    for k in range(start, start + count):
        if kept == start or mem[k] != mem[kept - 1]:
            mem[kept] = mem[k]
            kept += 1
    return kept - start


@jit
def _without(mem: Words, start: int, count: int, e: int) -> int:
    kept = start
    for k in range(start, start + count):
        if mem[k] != e:
            mem[kept] = mem[k]
            kept += 1
    return kept - start


@jit
def _merge_sets(mem: Words, start: int, count: int, kind: int) -> int:
    """[ab]|[bc] is [abc], and [ab]&[bc] is [b]: kind is ALT or AND."""
    num_sets = 0
    for k in range(start, start + count):
        num_sets += kind_of(mem, mem[k]) == SET
    if num_sets < 2:
        return count
    words = start + count
    mem[TOP] = words
    for _ in range(SET_WORDS):
        push(mem, 0 if kind == ALT else -1)
    if mem[STATUS] != OK:
        return count
    kept = start
    for k in range(start, start + count):
        e = mem[k]
        if kind_of(mem, e) != SET:
            mem[kept] = e
            kept += 1
            continue
        pool = mem[POOL] + x_of(mem, e)
        for w in range(SET_WORDS):
            if kind == ALT:
                mem[words + w] |= mem[pool + w]
            else:
                mem[words + w] &= mem[pool + w]
    mem[kept] = byte_set(mem, words)
    return _sort(mem, start, kept + 1 - start)


@jit
def _merge_counters(mem: Words, start: int, count: int) -> int:
    """x{1,3}t|x{2,9}t is x{1,9}t: keeps counted loops from spreading over many items."""
    num_loops = 0
    has_epsilon = False
    for k in range(start, start + count):
        num_loops += kind_of(mem, head_of(mem, mem[k])) == REPEAT
        has_epsilon = has_epsilon or mem[k] == EPSILON
    if num_loops + has_epsilon < 2 or num_loops == 0 or num_loops > _MAX_LOOPS:
        return count
    mem[TOP] = start + count
    i = start
    while i < start + count:
        is_joined = False
        for j in range(start, start + count):
            whole = _joined_counters(mem, mem[i], mem[j]) if i != j else _NO_PAIR
            if whole != _NO_PAIR:
                mem[i] = whole
                mem[j] = mem[start + count - 1]
                count -= 1
                mem[TOP] = start + count
                is_joined = True
                break
        i = start if is_joined else i + 1
    return _sort(mem, start, count)


_NO_PAIR = -1


@jit
def _joined_counters(mem: Words, a: int, b: int) -> int:
    """x{1,9}t for x{1,3}t and x{2,9}t, x{0,3} for x{1,3} and the empty text; or _NO_PAIR."""
    loop = head_of(mem, a)
    if kind_of(mem, loop) != REPEAT:
        return _NO_PAIR
    lo, hi = 0, 0
    if b != EPSILON:
        other = head_of(mem, b)
        if kind_of(mem, other) != REPEAT or x_of(mem, other) != x_of(mem, loop):
            return _NO_PAIR
        if tail_of(mem, b) != tail_of(mem, a):
            return _NO_PAIR
        lo, hi = y_of(mem, other), z_of(mem, other)
    elif a != loop:
        return _NO_PAIR
    if not _touch(y_of(mem, loop), z_of(mem, loop), lo, hi):
        return _NO_PAIR
    most = -1 if hi < 0 or z_of(mem, loop) < 0 else max(hi, z_of(mem, loop))
    whole = repeat(mem, x_of(mem, loop), min(lo, y_of(mem, loop)), most)
    return cat(mem, whole, tail_of(mem, a))


@jit
def _touch(lo: int, hi: int, other_lo: int, other_hi: int) -> bool:
    """Whether two ranges of counts overlap or are neighbours; -1 is no upper bound."""
    return (hi < 0 or other_lo <= hi + 1) and (other_hi < 0 or lo <= other_hi + 1)


@jit_with_arrays
def _factor_heads(mem: Words, start: int, count: int, depth: int) -> int:
    """xs|xt is x(s|t): the sequences of one head go on as one."""
    mem[TOP] = start + count
    keys = np.empty(count, np.int64)
    for k in range(count):
        keys[k] = (word(head_of(mem, mem[start + k])) << 32) | word(mem[start + k])
    keys.sort()
    has_pair = False
    for k in range(1, count):
        has_pair = has_pair or keys[k] >> 32 == keys[k - 1] >> 32
    if not has_pair:
        return count
    kept = start
    k = 0
    while k < count:
        head = keys[k] >> 32
        stop = k + 1
        while stop < count and keys[stop] >> 32 == head:
            stop += 1
        e = keys[k] & 0xFFFFFFFF
        if stop - k > 1:
            tails = mem[TOP]
            for i in range(k, stop):
                push(mem, tail_of(mem, keys[i] & 0xFFFFFFFF))
            e = cat(mem, head, entries.alt(mem, tails, depth - 1))
        mem[kept] = e
        kept += 1
        k = stop
    mem[TOP] = kept
    return _flatten(mem, start, ALT, EMPTY)


@jit
def both(mem: Words, start: int) -> int:
    """All of mem[start : TOP] at once; they are taken off the stack.

    It may be an empty language that is not EMPTY: see `liveness`.
    """
    result = _both(mem, start, _flatten(mem, start, AND, ALL))
    mem[TOP] = start
    return result


@jit
def _both(mem: Words, start: int, count: int) -> int:
    if mem[STATUS] != OK:
        return EMPTY
    count = _merge_sets(mem, start, count, AND)
    nullable, recursive, longest = True, 0, 0
    has_epsilon = False
    for k in range(start, start + count):
        e = mem[k]
        if e == EMPTY:
            return EMPTY
        has_epsilon = has_epsilon or e == EPSILON
        nullable = nullable and has(mem, e, NULLABLE)
        recursive |= mem[node(mem, e) + FLAGS] & RECURSIVE
        longest = max(longest, min_len_of(mem, e))
        if kind_of(mem, e) == NOT:
            refused = x_of(mem, e)
            for i in range(start, start + count):
                if mem[i] == refused:
                    return EMPTY
    if has_epsilon:
        return EPSILON if nullable else EMPTY
    if count < 2:
        return mem[start] if count else ALL
    flags = recursive | (NULLABLE if nullable else BOOLEAN)
    return intern_words(mem, AND, start, count, flags, 0 if nullable else longest)


@jit
def without_complements(mem: Words, e: int) -> int:
    """A for A & ~B, a language around that of e; e itself if it is no such thing."""
    if kind_of(mem, e) != AND:
        return e
    start = mem[TOP]
    words = mem[POOL] + x_of(mem, e)
    for k in range(y_of(mem, e)):
        if kind_of(mem, mem[words + k]) != NOT:
            push(mem, mem[words + k])
    return both(mem, start)
