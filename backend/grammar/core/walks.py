"""Walks of the vocabulary's trie, and the words they work on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.compiled import jit, word
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
    num_short: int  # the first nodes of the trie are of short tokens
    rows: Int32s  # [components, W] the tokens that a component's head allows by itself
    spans: Int32s  # [components, 2] from where to where its entries are
    entries: Int32s  # see `entry_of`: nodes below which a tail could allow more, sorted


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


@jit
def _first_at_least(entries: Int32s, key: int) -> int:
    lo, hi = 0, len(entries)
    while lo < hi:
        middle = (lo + hi) >> 1
        if entries[middle] < key:
            lo = middle + 1
        else:
            hi = middle
    return lo


@jit
def walk_entries(w: Walk, first: int, last: int, entries: Int32s, row: Int32s) -> bool:
    """The same with what is below some nodes, each entered before its own byte.

    False, and nothing is done, if that would be most of the trie.
    """
    found = start_walk(w.mem, w.table, w.scratch, first, last)
    entered = np.empty(len(entries), np.int32)
    count = 0
    for b in range(NUM_BYTES):
        if may_read(w.scratch, 0, b):
            start = _first_at_least(entries, b << NODE_BITS)
            stop = _first_at_least(entries, (b + 1) << NODE_BITS)
            entered[count : count + stop - start] = entries[start:stop]
            count += stop - start
    if count > _MANY_ENTRIES:
        return False
    end = w.tokens.end
    for k in range(count):
        if not found:
            break
        i = word(entered[k]) & ((1 << NODE_BITS) - 1)
        stop = word(end[i])
        found = walk_nodes(w.mem, w.table, w.scratch, w.tokens, i, stop, row)
    if not found and w.mem[STATUS] == OK:
        state = row_of_union(w, first, last)
        for entry in entries:
            i = word(entry) & ((1 << NODE_BITS) - 1)
            walk_dense(w, state, i, word(end[i]), row)
    return True


@jit
def row_of_union(w: Walk, first: int, last: int) -> int:
    """The row of what the expressions mem[first : last] match together; they stay there."""
    mem = w.mem
    start = mem[TOP]
    for k in range(first, last):
        push(mem, mem[k])
    return row_of(mem, w.table, alt(mem, start, FACTOR_DEPTH))


@jit
def walk_dense(w: Walk, state: int, i: int, stop: int, row: Int32s) -> None:
    """Walk the nodes [i, stop) with a row of the table. About 10 ns a node."""
    tokens = w.tokens
    stack = np.empty(num_levels(w.scratch) + 1, np.int64)
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
def find(tokens: Tokens, data: NDArray[np.uint8], i: int, stop: int) -> int:
    """The node among the siblings [i, stop) and below that spells data, or -1."""
    found = -1
    for wanted in data:
        while i < stop and tokens.byte[i] != wanted:
            i = word(tokens.end[i])
        if i >= stop:
            return -1
        found, stop = i, word(tokens.end[i])
        i += 1
    return found
