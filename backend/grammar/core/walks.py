"""Walks of the vocabulary's trie, and the words they work on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.dense import LOOPS, SLACK, after, row_of
from sestina.backend.grammar.core.entries import FACTOR_DEPTH, alt
from sestina.backend.grammar.core.memory import (
    NUM_BYTES,
    OK,
    STATUS,
    TOP,
    Int32s,
    Words,
    push,
)
from sestina.backend.grammar.core.threads import (
    Tokens,
    may_read,
    num_levels,
    start_walk,
    walk_nodes,
)
from sestina.kernels.token_mask.cpu import allow

_MANY_ENTRIES = 2000


class Walk(NamedTuple):
    """What masks are made with: the machine, a vocabulary, and the components worked out so far."""

    mem: Words
    table: Int32s
    scratch: Words
    tokens: Tokens
    rows: Int32s  # [components, W] the tokens that a component's head allows by itself
    spans: Int32s  # [components, 4] columns FIRST .. RESTS
    pool: Int32s  # entries, and what `counted` keeps behind them


FIRST, LAST, MOST, RESTS = range(4)
"""Columns of spans. A component's entries, nodes below which a tail could allow more (see
`entry_of`), are pool[FIRST : LAST]. MOST is 0 but for a counted component. RESTS is how many bytes
the longest of the shortest endings has that a token may leave, MAX_REST + 1 if it was not asked."""


@jit
def walk_range(w: Walk, first: int, last: int, i: int, stop: int, row: Int32s) -> None:
    """Walk the nodes [i, stop) with the expressions mem[first : last]; with their automaton, should
    that outgrow its room."""
    found = start_walk(w.mem, w.table, w.scratch, first, last) and walk_nodes(
        w.mem, w.table, w.scratch, w.tokens, i, stop, row
    )
    if not found and w.mem[STATUS] == OK:
        walk_dense(w, row_of_union(w, first, last), i, stop, row)


NODE_BITS = 23


@jit
def entry_of(tokens: Tokens, node: int) -> int:
    """A node and, above it, its byte: sorted, the entries of one byte are in a row, so that a tail
    need not look at those that it cannot enter."""
    return (word(tokens.byte[node]) << NODE_BITS) | node


@jit_with_arrays
def by_byte(tokens: Tokens, nodes: Words) -> tuple[Int32s, Int32s]:
    """The entries of some sorted nodes, sorted, and the place in `nodes` that each was at."""
    starts = np.zeros(NUM_BYTES + 1, np.int64)
    entries, places = np.empty(len(nodes), np.int32), np.empty(len(nodes), np.int32)
    byte = tokens.byte
    for node in nodes:
        starts[byte[node] + 1] += 1
    for b in range(NUM_BYTES):
        starts[b + 1] += starts[b]
    for k in range(len(nodes)):
        at = starts[byte[nodes[k]]]
        starts[byte[nodes[k]]] += 1
        entries[at], places[at] = (word(byte[nodes[k]]) << NODE_BITS) | nodes[k], k
    return entries, places


@jit
def _first_at_least(entries: Int32s, first: int, last: int, key: int) -> int:
    while first < last:
        middle = (first + last) >> 1
        if entries[middle] < key:
            first = middle + 1
        else:
            last = middle
    return first


@jit_with_arrays
def walk_entries(w: Walk, first: int, last: int, k: int, lo: int, hi: int, row: Int32s) -> bool:
    """The same with what is below the entries of component k, each entered before its own byte;
    of a counted one, those that lo to hi copies lead to.

    False, and nothing is done, if that would be most of the trie.
    """
    found = start_walk(w.mem, w.table, w.scratch, first, last)
    entered = np.empty(w.spans[k, LAST] - w.spans[k, FIRST], np.int32)
    count = _entered(w, k, lo, hi, not found, entered)
    if count > _MANY_ENTRIES:
        return False
    if (not found or not _walk_below(w, entered, count, row)) and w.mem[STATUS] == OK:
        state = row_of_union(w, first, last)
        for i in entered[:count]:
            walk_dense(w, state, word(i), word(w.tokens.end[i]), row)
    return True


@jit
def _entered(w: Walk, k: int, lo: int, hi: int, any_byte: bool, entered: Int32s) -> int:
    """Write the nodes that what was started could enter; all of them if it was not, for want of
    room. How many."""
    first, last = word(w.spans[k, FIRST]), word(w.spans[k, LAST])
    is_counted = w.spans[k, MOST] > 0
    count = 0
    for b in range(NUM_BYTES):
        if not any_byte and not may_read(w.scratch, 0, b):
            continue
        at = _first_at_least(w.pool, first, last, b << NODE_BITS)
        while at < last and w.pool[at] >> NODE_BITS == b:
            copies = word(w.pool[at + last - first]) if is_counted else lo
            if lo <= copies <= hi:
                entered[count] = w.pool[at] & ((1 << NODE_BITS) - 1)
                count += 1
            at += 1
    return count


@jit
def _walk_below(w: Walk, nodes: Int32s, count: int, row: Int32s) -> bool:
    for k in range(count):
        i = word(nodes[k])
        stop = word(w.tokens.end[i])
        if not walk_nodes(w.mem, w.table, w.scratch, w.tokens, i, stop, row):
            return False
    return True


@jit
def row_of_union(w: Walk, first: int, last: int) -> int:
    """The row of what the expressions mem[first : last] match together; they stay there."""
    mem = w.mem
    start = mem[TOP]
    for k in range(first, last):
        push(mem, mem[k])
    return row_of(mem, w.table, alt(mem, start, FACTOR_DEPTH))


@jit_with_arrays
def walk_dense(w: Walk, state: int, i: int, stop: int, row: Int32s) -> None:
    """Walk the nodes [i, stop) with a row of the table. About 10 ns a node."""
    _walk_dense(w, np.empty(num_levels(w.scratch) + 1, np.int64), state, i, stop, row)


@jit
def _walk_dense(w: Walk, stack: Words, state: int, i: int, stop: int, row: Int32s) -> None:
    tokens = w.tokens
    base = word(tokens.depth[i]) if i < stop else 0
    stack[0] = state
    while i < stop and w.mem[STATUS] == OK:
        level = tokens.depth[i] - base
        reached = after(w.mem, w.table, stack[level], word(tokens.byte[i]))
        if reached > 0 and all_loop(w.table, tokens, i, reached):
            i = allow_all_below(tokens, i, row)
        elif reached > 0:
            allow(tokens.token_start, tokens.token_ids, i, row)
            stack[level + 1] = reached
            i += 1
        else:
            i = word(tokens.end[i])


@jit
def all_loop(table: Int32s, tokens: Tokens, i: int, row: int) -> bool:
    """Whether all that is below a node, where `row` was reached, leads back to it."""
    below = tokens.groups[i]
    return below & ~table[row, LOOPS] == 0 and tokens.height[i] <= table[row, SLACK]


@jit
def allow_all_below(tokens: Tokens, i: int, row: Int32s) -> int:
    """Allow the tokens at a node and all below it; returns the node after those."""
    for t in range(tokens.token_start[i], tokens.token_start[tokens.end[i]]):
        token = tokens.token_ids[t]
        row[token >> 5] |= np.int32(1) << np.int32(token & 31)
    return word(tokens.end[i])


@jit
def find(tokens: Tokens, data: NDArray[np.uint8]) -> int:
    """The node that spells data, or -1."""
    found, i, stop = -1, 0, len(tokens.byte)
    for wanted in data:
        while i < stop and tokens.byte[i] != wanted:
            i = word(tokens.end[i])
        if i >= stop:
            return -1
        found, stop = i, word(tokens.end[i])
        i += 1
    return found
