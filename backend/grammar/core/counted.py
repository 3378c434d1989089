"""Components of counted loops: one of `item*` that serves `item{lo,hi}` for all lo and hi.

A string of at most 20 characters is another expression after each of them, and as many masks. But
where no text of the item begins another one, as with characters, a text is so many items and no
other number: so the trie is walked once with `item*`, and what counts is noted, for each token the
items it begins, for each node the items before it. What `item{lo,hi}` allows is what begins at most
hi of them; a tail that no item begins like goes on after lo to hi of them.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.components import NO_COMPONENT, keep
from sestina.backend.grammar.core.dense import ACCEPTING, after, row_of
from sestina.backend.grammar.core.derive import add_first_bytes
from sestina.backend.grammar.core.entries import repeat
from sestina.backend.grammar.core.memory import (
    COUNTING,
    OK,
    REPEAT,
    SET_WORDS,
    STATUS,
    Int32s,
    Words,
    kind_of,
    node,
    x_of,
    y_of,
    z_of,
)
from sestina.backend.grammar.core.rests import MAX_REST
from sestina.backend.grammar.core.threads import num_levels
from sestina.backend.grammar.core.walks import FIRST, LAST, MOST, Walk, by_byte

_NO_CODE = -1
"""In an item's column COUNTING: some text of it begins another."""


@jit
def is_counted(mem: Words, head: int) -> bool:
    """Whether a head is a loop whose bounds matter; one that must be taken once is not worth it."""
    return (
        kind_of(mem, head) == REPEAT
        and (y_of(mem, head) > 1 or z_of(mem, head) >= 0)
        and kind_of(mem, x_of(mem, head)) != REPEAT  # (x{0,3})* is x*, which counts other copies
    )


@jit
def counted_component(w: Walk, head: int, tail: int) -> int:
    """The number of the component of a counted head's loop, made if it is new; NO_COMPONENT if it
    does not serve: if a text of the item begins another, or the tail could begin as the item."""
    mem = w.mem
    item = x_of(mem, head)
    if mem[node(mem, item) + COUNTING] == _NO_CODE or not _begin_apart(mem, item, tail):
        return NO_COMPONENT
    if not mem[node(mem, item) + COUNTING]:
        k = _made(w, item)
        if mem[STATUS] != OK:
            return NO_COMPONENT
        mem[node(mem, item) + COUNTING] = _NO_CODE if k == NO_COMPONENT else k + 1
    known = mem[node(mem, item) + COUNTING]
    return known - 1 if known > 0 else NO_COMPONENT


@jit_with_arrays
def _begin_apart(mem: Words, item: int, tail: int) -> bool:
    ours, theirs = np.zeros(SET_WORDS, np.int64), np.zeros(SET_WORDS, np.int64)
    add_first_bytes(mem, item, ours)
    add_first_bytes(mem, tail, theirs)
    return not (ours & theirs).any()


@jit_with_arrays
def _made(w: Walk, item: int) -> int:
    """The component of item*, kept in the pool as

    entries [n], copies before each [n], starts [MOST + 2], token ids

    where the tokens that begin c copies are those from starts[c] up to starts[c + 1].
    """
    mem, tokens = w.mem, w.tokens
    num_nodes = len(tokens.byte)
    found, copies = np.empty(num_nodes, np.int64), np.empty(num_nodes, np.int32)
    begun, ids = np.empty_like(tokens.token_ids), np.empty_like(tokens.token_ids)
    path = np.empty((num_levels(w.scratch) + 1, 2), np.int64)
    start = row_of(mem, w.table, repeat(mem, item, 0, -1))
    count, num_ids = _walk_counting(w, start, path, found, copies, begun, ids)
    if mem[STATUS] != OK or count < 0:
        return NO_COMPONENT
    row = np.zeros(w.rows.shape[1], np.int32)
    for token in ids[:num_ids]:
        row[token >> 5] |= np.int32(1) << np.int32(token & 31)
    entries, places = by_byte(tokens, found[:count])
    starts, by_count = _by_count(begun[:num_ids], ids)
    kept = np.concatenate((entries, copies[:count][places], starts, by_count))
    return keep(w, row, kept, count, len(starts) - 2, MAX_REST + 1)


_STATE, _COPIES = range(2)


@jit
def _walk_counting(
    w: Walk,
    start: int,
    path: Words,
    found: Words,
    copies: Int32s,
    begun: Int32s,
    ids: Int32s,
) -> tuple[int, int]:
    """Write the tokens that item* allows and how many items each begins; and the nodes that no item
    goes on with, though a text of items ends before, with how many. The number of either, the nodes
    first; -1 if a text of the item begins another. About 10 ns a node reached."""
    mem, table, tokens = w.mem, w.table, w.tokens
    count, num_ids, i = 0, 0, 0
    path[0, _STATE], path[0, _COPIES] = start, 0
    while i < len(tokens.byte):
        level = word(tokens.depth[i])
        state, num_copies = path[level, _STATE], path[level, _COPIES]
        reached = after(mem, table, state, word(tokens.byte[i]))
        if mem[STATUS] != OK:
            break
        if not reached:
            if state == start and level > 0:
                found[count], copies[count] = i, num_copies
                count += 1
            i = word(tokens.end[i])
            continue
        if reached != start and table[reached, ACCEPTING]:
            return -1, 0
        num_copies += state == start
        for t in range(tokens.token_start[i], tokens.token_start[i + 1]):
            ids[num_ids], begun[num_ids] = tokens.token_ids[t], num_copies
            num_ids += 1
        path[level + 1, _STATE], path[level + 1, _COPIES] = reached, num_copies
        i += 1
    return count, num_ids


@jit_with_arrays
def _by_count(begun: Int32s, ids: Int32s) -> tuple[Int32s, Int32s]:
    """Token ids by what they begin, and where those of each number start."""
    most = 1
    for c in begun:
        most = max(most, c)
    starts = np.zeros(most + 2, np.int32)
    for c in begun:
        starts[c + 1] += 1
    for c in range(most + 1):
        starts[c + 1] += starts[c]
    filled, sorted_ids = starts.copy(), np.empty(len(begun), np.int32)
    for k in range(len(begun)):
        sorted_ids[filled[begun[k]]] = ids[k]
        filled[begun[k]] += 1
    return starts, sorted_ids


@jit_with_arrays
def add_counted(w: Walk, k: int, hi: int, row: Int32s) -> None:
    """Allow the tokens that begin at most hi copies, or any number of them if hi is negative."""
    first, last, most = word(w.spans[k, FIRST]), word(w.spans[k, LAST]), word(w.spans[k, MOST])
    starts = 2 * last - first
    ids = starts + most + 2
    most = most if hi < 0 else min(hi, most)
    middle, end = word(w.pool[starts + most + 1]), word(w.pool[ids - 1])
    if 2 * middle < end:
        for token in w.pool[ids : ids + middle]:
            row[token >> 5] |= np.int32(1) << np.int32(token & 31)
    else:
        mine = w.rows[k].copy()
        for token in w.pool[ids + middle : ids + end]:
            mine[token >> 5] &= ~(np.int32(1) << np.int32(token & 31))
        row |= mine
