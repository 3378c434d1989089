"""Components: for heads that many places share, the tokens they allow and where a tail goes on.

Over the short tokens only, for what is walked as an automaton: by walking it, or, for A & ~B, by
mending the component of A where B may still match.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.compiled import jit, word
from sestina.backend.grammar.core.dense import ACCEPTING, after, row_of
from sestina.backend.grammar.core.derive import first_bytes
from sestina.backend.grammar.core.entries import derivative, live, without_complements
from sestina.backend.grammar.core.memory import (
    ALL,
    AND,
    COMPONENT,
    COMPONENTS_FULL,
    EMPTY,
    NODE_LEN,
    NODES,
    NOT,
    NULLABLE,
    NUM_BYTES,
    NUM_COMPONENTS,
    NUM_ENTRIES,
    NUM_NODES,
    OK,
    POOL,
    SET_WORDS,
    STATUS,
    Int32s,
    Words,
    has,
    kind_of,
    node,
    x_of,
    y_of,
)
from sestina.backend.grammar.core.threads import Tokens, num_levels
from sestina.backend.grammar.core.walks import Walk, all_loop, allow_all_below, entry_of
from sestina.kernels.token_mask.cpu import allow

# More bytes than this to look at are better looked at with rows of the table.
_MANY_BYTES = 64

NO_COMPONENT = -1
"""Something went wrong: see mem[STATUS]."""


@jit
def component(w: Walk, head: int) -> int:
    """The number of a head's component, made if it is new."""
    mem = w.mem
    known = mem[node(mem, head) + COMPONENT]
    if known:
        return known - 1
    wider = without_complements(mem, head)
    if wider in (ALL, head) or _differs_widely(mem, head):
        return _table_component(w, head)
    base = mem[node(mem, wider) + COMPONENT] - 1
    if base < 0:
        base = _table_component(w, wider)
    if mem[STATUS] != OK:
        return NO_COMPONENT
    return _narrowed_component(w, head, wider, base)


@jit
def _differs_widely(mem: Words, e: int) -> bool:
    """Whether B could begin with many bytes in A & ~B, as where it is a search."""
    words = np.empty(SET_WORDS, np.int64)
    _bytes_of_complements(mem, e, words)
    count = 0
    for b in range(NUM_BYTES):
        count += (words[b >> 6] >> (b & 63)) & 1
    return count > _MANY_BYTES


@jit
def _keep(w: Walk, head: int, row: Int32s, entries: Int32s, count: int) -> int:
    """Keep a component with the first `count` entries; its number."""
    mem = w.mem
    k, first = mem[NUM_COMPONENTS], mem[NUM_ENTRIES]
    if mem[STATUS] != OK:
        return NO_COMPONENT
    if k >= len(w.rows) or first + count > len(w.entries):
        mem[STATUS] = COMPONENTS_FULL
        return NO_COMPONENT
    w.rows[k] = row
    w.entries[first : first + count] = entries[:count]
    w.spans[k, 0], w.spans[k, 1] = first, first + count
    mem[NUM_COMPONENTS], mem[NUM_ENTRIES] = k + 1, first + count
    mem[node(mem, head) + COMPONENT] = k + 1
    return k


@jit
def _table_component(w: Walk, head: int) -> int:
    """Walk the automaton; where it dies, note where on the way a text of the head ended."""
    mem, table, tokens = w.mem, w.table, w.tokens
    room = num_levels(w.scratch) + 1
    row = np.zeros(w.rows.shape[1], np.int32)
    entries = np.empty(w.num_short, np.int32)
    count = 0
    states = np.empty(room, np.int64)
    path = np.empty(room, np.int64)
    noted = np.empty(room, np.bool_)  # path[level] has a dead node at or below it
    states[0] = row_of(mem, table, head)
    i = 0
    while i < w.num_short:
        level = word(tokens.depth[i])
        reached = after(mem, table, states[level], word(tokens.byte[i]))
        if mem[STATUS] != OK:
            return NO_COMPONENT
        if reached > 0 and all_loop(table, tokens, i, reached):
            i = allow_all_below(tokens, i, row)
            continue
        path[level] = i
        noted[level] = False
        if reached > 0:
            allow(tokens.token_start, tokens.token_ids, i, row)
            states[level + 1] = reached
            i += 1
            continue
        while level >= 0 and not noted[level]:
            noted[level] = True
            if level > 0 and table[states[level], ACCEPTING]:
                entries[count] = path[level]
                count += 1
            level -= 1
        i = word(tokens.end[i])
    for k in range(count):
        entries[k] = entry_of(tokens, word(entries[k]))
    entries[:count].sort()
    return _keep(w, head, row, entries, count)


@jit
def _narrowed_component(w: Walk, head: int, wider: int, base: int) -> int:
    """That of A & ~B from that of A: they differ only where B could still match, so only there is
    the trie walked, with expressions, which cost less than rows of the table here."""
    mem, tokens = w.mem, w.tokens
    row = w.rows[base].copy()
    room = num_levels(w.scratch) + 1
    mine, theirs = np.empty(room, np.int64), np.empty(room, np.int64)
    may_differ = np.empty((room, SET_WORDS), np.int64)
    seen, num_seen = np.empty(256, np.int32), 0  # nodes whose being an entry is looked at anew
    is_entry = np.empty(256, np.bool_)
    mine[0], theirs[0] = head, wider
    _bytes_of_complements(mem, head, may_differ[0])
    i = 0
    while i < w.num_short:
        level, b = word(tokens.depth[i]), word(tokens.byte[i])
        if level > 0:
            if num_seen == len(seen):
                seen = np.concatenate((seen, np.empty_like(seen)))
                is_entry = np.concatenate((is_entry, np.empty_like(is_entry)))
            seen[num_seen] = i
            is_entry[num_seen] = has(mem, mine[level], NULLABLE)
            num_seen += 1
        below = word(tokens.end[i])
        if not (may_differ[level, b >> 6] >> (b & 63)) & 1:
            i = below
            continue
        mine[level + 1] = live(mem, derivative(mem, mine[level], b))
        theirs[level + 1] = live(mem, derivative(mem, theirs[level], b))
        if mem[STATUS] != OK:
            return NO_COMPONENT
        if mine[level + 1] == theirs[level + 1]:
            i = below
            continue
        _set_tokens(tokens, i, row, mine[level + 1] != EMPTY)
        if below > i + 1:
            _bytes_of_complements(mem, mine[level + 1], may_differ[level + 1])
        i += 1
    keys = np.empty(num_seen, np.int64)  # of the nodes seen; the last bit tells entries
    for k in range(num_seen):
        keys[k] = 2 * entry_of(tokens, word(seen[k])) + is_entry[k]
    keys.sort()
    old = w.entries[w.spans[base, 0] : w.spans[base, 1]]
    entries = np.empty(len(old) + num_seen, np.int32)
    count = _merge_entries(old, keys, entries)
    return _keep(w, head, row, entries, count)


@jit
def _bytes_of_complements(mem: Words, e: int, words: Words) -> None:
    """The bytes that B could begin with in A & ~B; all of them if e is no such thing."""
    words[:] = -1
    if kind_of(mem, e) != AND:
        return
    found, total = np.empty(SET_WORDS, np.int64), np.zeros(SET_WORDS, np.int64)
    for k in range(y_of(mem, e)):
        part = mem[mem[POOL] + x_of(mem, e) + k]
        if kind_of(mem, part) == NOT:
            first_bytes(mem, x_of(mem, part), found)
            total |= found
    words[:] = total


@jit
def _set_tokens(tokens: Tokens, i: int, row: Int32s, allowed: bool) -> None:
    """Allow or forbid the tokens that end at a node."""
    for t in range(tokens.token_start[i], tokens.token_start[i + 1]):
        token = tokens.token_ids[t]
        bit = np.int32(1) << np.int32(token & 31)
        if allowed:
            row[token >> 5] |= bit
        else:
            row[token >> 5] &= ~bit


@jit
def _merge_entries(old: Int32s, keys: Words, out: Int32s) -> int:
    """The sorted entries that are in `old` and not seen, or seen to be entries. How many."""
    count, k = 0, 0
    for entry in old:
        while k < len(keys) and keys[k] >> 1 < entry:
            if keys[k] & 1:
                out[count] = keys[k] >> 1
                count += 1
            k += 1
        if k == len(keys) or keys[k] >> 1 != entry:
            out[count] = entry
            count += 1
    for j in range(k, len(keys)):
        if keys[j] & 1:
            out[count] = keys[j] >> 1
            count += 1
    return count


@jit
def forget_components(mem: Words) -> None:
    """No expression has a component any more."""
    mem[NUM_COMPONENTS], mem[NUM_ENTRIES] = 0, 0
    for e in range(mem[NUM_NODES]):
        mem[mem[NODES] + e * NODE_LEN + COMPONENT] = 0
