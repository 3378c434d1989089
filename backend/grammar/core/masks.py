"""Token masks put together from parts that are worked out once.

A token is allowed by a|b if a or b allows it, so a mask is a union. And a token is allowed by
head·tail if the head allows it, or if it is a text of the head and then something that the tail
allows. So for heads that many places share (the body of a string, any JSON value), the head's own
mask is kept as a component, with the trie's nodes where a tail could go on; a new tail walks those
few only. Loops with counters have one component for all their bounds, where they can.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.components import NO_COMPONENT, component
from sestina.backend.grammar.core.counted import add_counted, counted_component, is_counted
from sestina.backend.grammar.core.dense import is_state, row_of
from sestina.backend.grammar.core.entries import cat, clamped, repeat
from sestina.backend.grammar.core.intern import head_of, tail_of
from sestina.backend.grammar.core.memory import (
    ALT,
    EMPTY,
    EPSILON,
    LONG,
    NULLABLE,
    OK,
    PERMUTE,
    POOL,
    REPEAT,
    RULE,
    STATUS,
    TOP,
    Int32s,
    Words,
    has,
    kind_of,
    push,
    x_of,
    y_of,
    z_of,
)
from sestina.backend.grammar.core.permute import body
from sestina.backend.grammar.core.threads import Tokens, max_len
from sestina.backend.grammar.core.walks import (
    Walk,
    find,
    row_of_union,
    walk_dense,
    walk_entries,
    walk_range,
)

# A wider alternation is walked as it is: it has many short parts, as an enum.
_MAX_SPREAD = 64

# What falls into more parts is not taken apart any further: alternations of alternations have
# very many where each has but two.
_MAX_PARTS = 2000

Fill = Callable[..., None]
"""The functions below: what a `Walk` has, what is asked, and a row [W] to set bits in. Look at
mem[STATUS] afterwards."""


@jit
def fill(
    mem: Words,
    table: Int32s,
    scratch: Words,
    tokens: Tokens,
    rows: Int32s,
    spans: Int32s,
    pool: Int32s,
    e: int,
    row: Int32s,
) -> None:
    """Allow the tokens of text that the live expression e allows."""
    w = Walk(mem, table, scratch, tokens, rows, spans, pool)
    start, num_nodes = mem[TOP], len(tokens.byte)
    composed = start + _spread(mem, e)
    stop = mem[TOP]
    for k in range(composed, stop):
        if not _add_composed(w, mem[k], row):
            push(mem, mem[k])
    if stop < mem[TOP] and mem[STATUS] == OK:
        walk_dense(w, row_of_union(w, stop, mem[TOP]), 0, num_nodes, row)
    if start < composed:
        walk_range(w, start, composed, 0, num_nodes, row)
    mem[TOP] = start


@jit
def fill_dense(
    mem: Words,
    table: Int32s,
    scratch: Words,
    tokens: Tokens,
    rows: Int32s,
    spans: Int32s,
    pool: Int32s,
    e: int,
    row: Int32s,
) -> None:
    """`fill` the plain way: all nodes through the automaton's table."""
    w = Walk(mem, table, scratch, tokens, rows, spans, pool)
    walk_dense(w, row_of(mem, table, e), 0, len(tokens.byte), row)


@jit
def fill_past(
    mem: Words,
    table: Int32s,
    scratch: Words,
    tokens: Tokens,
    rows: Int32s,
    spans: Int32s,
    pool: Int32s,
    prefix: NDArray[np.uint8],
    e: int,
    row: Int32s,
) -> None:
    """Allow the tokens that are longer than `prefix`, begin with it, and go on as e allows."""
    w = Walk(mem, table, scratch, tokens, rows, spans, pool)
    start = mem[TOP]
    push(mem, e)
    at = find(tokens, prefix)
    if at >= 0:
        walk_range(w, start, start + 1, at + 1, word(tokens.end[at]), row)
    mem[TOP] = start


@jit_with_arrays
def _spread(mem: Words, e: int) -> int:
    """Leave on the stack what e is the union of: parts to walk as they are, then parts whose head
    is a component. Returns how many there are of the first."""
    plain, composed, todo = [e], [e], [e]
    plain.clear()
    composed.clear()
    seen = {EMPTY, EPSILON}
    while len(todo) and mem[STATUS] == OK:
        e = todo.pop()
        if e in seen:
            continue
        seen.add(e)
        if len(seen) > _MAX_PARTS:
            plain.append(e)
            continue
        head, tail = head_of(mem, e), tail_of(mem, e)
        kind = kind_of(mem, head)
        if kind in (RULE, PERMUTE):
            todo.append(cat(mem, body(mem, head), tail))
        elif is_state(mem, head):
            composed.append(e)
            if has(mem, head, NULLABLE):
                todo.append(tail)
        elif kind == ALT and y_of(mem, head) <= _MAX_SPREAD:
            for k in range(y_of(mem, head)):
                todo.append(cat(mem, mem[mem[POOL] + x_of(mem, head) + k], tail))
        elif kind == REPEAT:
            lo, hi = y_of(mem, head), z_of(mem, head)
            left = repeat(mem, x_of(mem, head), max(lo - 1, 0), hi if hi < 0 else hi - 1)
            todo.append(cat(mem, x_of(mem, head), cat(mem, left, tail)))
            if lo == 0:
                todo.append(tail)
        else:
            plain.append(e)
    for each in plain:
        push(mem, each)
    for each in composed:
        push(mem, each)
    return len(plain)


@jit_with_arrays
def _add_composed(w: Walk, e: int, row: Int32s) -> bool:
    """The tokens of a sequence whose head is a component.

    False if they are better found by walking the whole: where the head, such as `[a-z]*`, may end
    anywhere, the tail would be tried everywhere.
    """
    mem = w.mem
    head, tail = clamped(mem, head_of(mem, e), max_len(w.scratch)), tail_of(mem, e)
    lo, hi, k = 0, LONG, NO_COMPONENT
    if is_counted(mem, head):
        lo, hi = y_of(mem, head), z_of(mem, head) if z_of(mem, head) >= 0 else LONG
        k = counted_component(w, head, tail)
    has_bounds = k != NO_COMPONENT
    if not has_bounds and mem[STATUS] == OK:
        k = component(w, head)
    if mem[STATUS] != OK:
        return True
    if tail != EPSILON:
        start = mem[TOP]
        push(mem, tail)
        is_small = walk_entries(w, start, start + 1, k, lo, hi, row)
        mem[TOP] = start
        if not is_small:
            return False
    if has_bounds:
        add_counted(w, k, hi, row)
    else:
        row |= w.rows[k]
    return True
