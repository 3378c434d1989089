"""Components: for heads that many places share, the tokens they allow and where a tail goes on.

Over the short tokens only, for what is walked as an automaton: by walking it, or, for A & ~B, by
mending the component of A where B may still match.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.clamp import loosened
from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.dense import ACCEPTING, after, row_of
from sestina.backend.grammar.core.derive import add_first_bytes
from sestina.backend.grammar.core.entries import derivative, live, without_complements
from sestina.backend.grammar.core.memory import (
    ALL,
    AND,
    COMPONENT,
    COMPONENTS_FULL,
    COUNTING,
    EMPTY,
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
from sestina.backend.grammar.core.rests import MAX_REST, longest_rest
from sestina.backend.grammar.core.threads import Tokens, max_len, num_levels
from sestina.backend.grammar.core.walks import (
    FIRST,
    LAST,
    MOST,
    RESTS,
    Walk,
    all_loop,
    allow_all_below,
    by_byte,
    entry_of,
)
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
    if kind_of(mem, head) == AND:
        k = _loose_component(w, head)
        if k != NO_COMPONENT or mem[STATUS] != OK:
            return k
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
def _loose_component(w: Walk, head: int) -> int:
    """That of an And without its larger bounds, for head, too, if they cannot matter to a token:
    if all that it leads to ends soon enough. NO_COMPONENT if not.

    A token that the looser one allows can go on to a text of at most its own length and MAX_REST,
    and this head has all of these.
    """
    mem = w.mem
    loose = loosened(mem, head, max_len(w.scratch) + MAX_REST)
    if mem[STATUS] != OK or loose == head or kind_of(mem, loose) != AND:
        return NO_COMPONENT
    known = mem[node(mem, loose) + COMPONENT]
    k = known - 1 if known else _table_component(w, loose)
    if mem[STATUS] != OK or w.spans[k, RESTS] > MAX_REST:
        return NO_COMPONENT
    mem[node(mem, head) + COMPONENT] = k + 1
    return k


@jit_with_arrays
def _differs_widely(mem: Words, e: int) -> bool:
    """Whether B could begin with many bytes in A & ~B, as where it is a search."""
    words = np.empty(SET_WORDS, np.int64)
    _bytes_of_complements(mem, e, words)
    count = 0
    for b in range(NUM_BYTES):
        count += (words[b >> 6] >> (b & 63)) & 1
    return count > _MANY_BYTES


@jit_with_arrays
def keep(w: Walk, row: Int32s, kept: Int32s, num_entries: int, most: int, rests: int) -> int:
    """Keep a component whose entries `kept` begins with; its number."""
    mem = w.mem
    k, first = mem[NUM_COMPONENTS], mem[NUM_ENTRIES]
    if mem[STATUS] != OK:
        return NO_COMPONENT
    if k >= len(w.rows) or first + len(kept) > len(w.pool):
        mem[STATUS] = COMPONENTS_FULL
        return NO_COMPONENT
    w.rows[k] = row
    w.pool[first : first + len(kept)] = kept
    w.spans[k, FIRST], w.spans[k, LAST] = first, first + num_entries
    w.spans[k, MOST], w.spans[k, RESTS] = most, rests
    mem[NUM_COMPONENTS], mem[NUM_ENTRIES] = k + 1, first + len(kept)
    return k


@jit_with_arrays
def _table_component(w: Walk, head: int) -> int:
    """Walk the automaton; where it dies, note where on the way a text of the head ended."""
    row = np.zeros(w.rows.shape[1], np.int32)
    is_entry = np.zeros(len(w.tokens.byte), np.bool_)
    path = np.empty((num_levels(w.scratch) + 1, 3), np.int64)
    is_reached = np.zeros(len(w.table), np.bool_)
    _walk_table(w, row_of(w.mem, w.table, head), path, row, is_entry, is_reached)
    rests = MAX_REST + 1
    if kind_of(w.mem, head) == AND and w.mem[STATUS] == OK:
        rests = longest_rest(w.mem, w.table, is_reached)
    if w.mem[STATUS] != OK:
        return NO_COMPONENT
    entries, _ = by_byte(w.tokens, np.nonzero(is_entry)[0])
    return _keep_for(w, head, row, entries, rests)


@jit
def _keep_for(w: Walk, head: int, row: Int32s, entries: Int32s, rests: int) -> int:
    k = keep(w, row, entries, len(entries), 0, rests)
    if w.mem[STATUS] == OK:
        w.mem[node(w.mem, head) + COMPONENT] = k + 1
    return k


_STATE, _NODE, _NOTED = range(3)


@jit
def _walk_table(
    w: Walk,
    start: int,
    path: Words,
    row: Int32s,
    is_entry: NDArray[np.bool_],
    is_reached: NDArray[np.bool_],
) -> None:
    """Allow the head's own tokens; mark the entries' nodes, and the rows that a token leads to.

    path: by level the state before the level's byte, its node, and whether a node that dies is at
    or below it.
    """
    mem, table, tokens = w.mem, w.table, w.tokens
    i = 0
    path[0, _STATE] = start
    while i < len(tokens.byte):
        level = word(tokens.depth[i])
        reached = after(mem, table, path[level, _STATE], word(tokens.byte[i]))
        if mem[STATUS] != OK:
            break
        is_reached[reached] = True
        if reached > 0 and all_loop(table, tokens, i, reached):
            i = allow_all_below(tokens, i, row)
            continue
        path[level, _NODE], path[level, _NOTED] = i, 0
        if reached > 0:
            allow(tokens.token_start, tokens.token_ids, i, row)
            path[level + 1, _STATE] = reached
            i += 1
            continue
        while level >= 0 and not path[level, _NOTED]:
            path[level, _NOTED] = 1
            if level > 0 and table[path[level, _STATE], ACCEPTING]:
                is_entry[path[level, _NODE]] = True
            level -= 1
        i = word(tokens.end[i])


@jit_with_arrays
def _narrowed_component(w: Walk, head: int, wider: int, base: int) -> int:
    """That of A & ~B from that of A: they differ only where B could still match, so only there is
    the trie walked, with expressions, which cost less than rows of the table here."""
    row = w.rows[base].copy()
    path = np.empty((num_levels(w.scratch) + 1, 2 + SET_WORDS), np.int64)
    seen = np.empty(len(w.tokens.byte), np.int64)
    path[0, _MINE], path[0, _THEIRS] = head, wider
    num_seen = _walk_differences(w, path, row, seen)
    if w.mem[STATUS] != OK:
        return NO_COMPONENT
    keys = seen[:num_seen]
    keys.sort()
    old = w.pool[w.spans[base, FIRST] : w.spans[base, LAST]]
    entries = np.empty(len(old) + num_seen, np.int32)
    count = _merge_entries(old, keys, entries)
    return _keep_for(w, head, row, entries[:count], MAX_REST + 1)


_MINE, _THEIRS, _MAY_DIFFER = range(3)


@jit
def _walk_differences(w: Walk, path: Words, row: Int32s, seen: Words) -> int:
    """Set the row right, and write which nodes on the way are entries: twice `entry_of`, and 1 if
    it is one. How many.

    path: by level what is left of A & ~B and of A, and the bytes after which these could differ.
    """
    mem, tokens = w.mem, w.tokens
    i, num_seen = 0, 0
    _bytes_of_complements(mem, path[0, _MINE], path[0, _MAY_DIFFER:])
    while i < len(tokens.byte):
        level, b = word(tokens.depth[i]), word(tokens.byte[i])
        mine, theirs = path[level, _MINE], path[level, _THEIRS]
        if level > 0:
            seen[num_seen] = 2 * entry_of(tokens, i) + has(mem, mine, NULLABLE)
            num_seen += 1
        below = word(tokens.end[i])
        if not (path[level, _MAY_DIFFER + (b >> 6)] >> (b & 63)) & 1:
            i = below
            continue
        mine = live(mem, derivative(mem, mine, b))
        theirs = live(mem, derivative(mem, theirs, b))
        if mem[STATUS] != OK:
            break
        if mine == theirs:
            i = below
            continue
        _set_tokens(tokens, i, row, mine != EMPTY)
        path[level + 1, _MINE], path[level + 1, _THEIRS] = mine, theirs
        if below > i + 1:
            _bytes_of_complements(mem, mine, path[level + 1, _MAY_DIFFER:])
        i += 1
    return num_seen


@jit
def _bytes_of_complements(mem: Words, e: int, words: Words) -> None:
    """The bytes that B could begin with in A & ~B, in SET_WORDS words; all of them if e is no such
    thing."""
    is_and = kind_of(mem, e) == AND
    for k in range(SET_WORDS):
        words[k] = 0 if is_and else -1
    if is_and:
        for k in range(y_of(mem, e)):
            part = mem[mem[POOL] + x_of(mem, e) + k]
            if kind_of(mem, part) == NOT:
                add_first_bytes(mem, x_of(mem, part), words)


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
        mem[node(mem, e) + COMPONENT], mem[node(mem, e) + COUNTING] = 0, 0
