"""How many tokens the canonical ending takes, and which tokens leave room for it.

The ending is cut into tokens from its start, the longest first. The rest after one token is the
canonical ending of the state that the token leads to, and is cut alike: so that state needs one
token less, and whoever has as many tokens left as a state needs can always go on to one that needs
fewer, down to none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.dense import EXPR, after, row_of
from sestina.backend.grammar.core.derive import add_first_bytes
from sestina.backend.grammar.core.ending_reach import reach
from sestina.backend.grammar.core.ending_words import MAX_ENDING, WANTED, Notes, choose, write
from sestina.backend.grammar.core.endings import length_of
from sestina.backend.grammar.core.entries import derivative, live
from sestina.backend.grammar.core.memory import (
    NUM_BYTES,
    OK,
    SET_WORDS,
    STATUS,
    STEP_KEY,
    Int32s,
    Words,
    recall,
    remember,
)
from sestina.backend.grammar.core.threads import Tokens
from sestina.kernels.token_mask.cpu import allow

FAR = 1 << 28
"""More tokens than anyone has: the ending is too long, or no tokens spell one."""

UNSPELLED = -1
"""The longest tokens do not spell the ending to its end."""

AFTER_KEY = 1 << 22

# What may begin with so many bytes is walked with the automaton's table: it comes back to few
# states, as a string does, and the walk meets most of the trie.
_MANY_BYTES = 64


class Index(NamedTuple):
    """The tokens' spellings as a trie whose children are found by hashing.

    slots: int64 [power of two, 2], (node * 256 + byte, child), -1 where empty. Node 0 is the root.
    """

    slots: Words
    is_token: NDArray[np.bool_]  # [nodes]


@jit
def fill_index(
    slots: Words, is_token: NDArray[np.bool_], text: NDArray[np.uint8], starts: Int32s
) -> None:
    """Enter all tokens; token i is text[starts[i] : starts[i + 1]]. About 50 ns a byte."""
    index = Index(slots, is_token)
    num_nodes = 1
    for i in range(len(starts) - 1):
        at = 0
        for k in range(starts[i], starts[i + 1]):
            slot = _slot(index, at, word(text[k]))
            if slots[slot, 0] < 0:
                slots[slot, 0] = at * NUM_BYTES + text[k]
                slots[slot, 1] = num_nodes
                num_nodes += 1
            at = slots[slot, 1]
        is_token[at] = at > 0


@jit
def _slot(index: Index, at: int, byte: int) -> int:
    key = at * NUM_BYTES + byte
    mask = len(index.slots) - 1
    slot = (key * 0x9E3779B1 >> 7) & mask
    while index.slots[slot, 0] >= 0 and index.slots[slot, 0] != key:
        slot = (slot + 1) & mask
    return slot


@jit
def num_tokens(index: Index, symbols: Int32s) -> int:
    """Tokens of a word, each the longest that its place allows; UNSPELLED if none is left once."""
    count, at = 0, 0
    while at < len(symbols):
        longest = at + 1 if symbols[at] >= NUM_BYTES else at
        spelled, k = 0, at
        while k < len(symbols) and symbols[k] < NUM_BYTES:
            slot = _slot(index, spelled, word(symbols[k]))
            if index.slots[slot, 0] < 0:
                break
            spelled = index.slots[slot, 1]
            k += 1
            if index.is_token[spelled]:
                longest = k
        if longest == at:
            return UNSPELLED
        count += 1
        at = longest
    return count


@jit_with_arrays
def tokens_to_end(mem: Words, notes: Notes, index: Index, e: int, max_length: int) -> int:
    """Tokens of the ending of e; FAR if it is longer than max_length, or UNSPELLED.

    About 10 ns a symbol, 10 ns once it is known. Look at mem[STATUS] and at notes.words[WANTED]
    afterwards.
    """
    known = word(notes.tokens[e])
    if known > 0:
        return known - 1
    if known < 0:
        return UNSPELLED if known == UNSPELLED else UNSPELLED - 1 - known
    length = length_of(mem, notes, e)
    if length > max_length or length >= MAX_ENDING or mem[STATUS] != OK or notes.words[WANTED]:
        return FAR
    choose(mem, notes, e)
    if mem[STATUS] != OK or notes.words[WANTED]:
        return FAR
    symbols = np.empty(length, np.int32)
    write(mem, notes, e, symbols)
    count = num_tokens(index, symbols)
    notes.tokens[e] = count if count == UNSPELLED else 1 + count
    return count


@jit
def symbols_to_come(mem: Words, notes: Notes, index: Index, e: int, num_symbols: int) -> int:
    """See `ending_reach.reach`."""
    return reach(mem, notes, e, num_symbols)


@jit_with_arrays
def fill_within(
    mem: Words,
    table: Int32s,
    notes: Notes,
    index: Index,
    tokens: Tokens,
    state: int,
    max_tokens: int,
    max_length: int,
    row: Int32s,
) -> int:
    """Allow each text token after which the ending takes at most `max_tokens`.

    max_length: the most symbols that so many tokens can spell.
    Returns the most that it takes after any token that the state allows, or ~e for a state e that
    is UNSPELLED, the row being unfinished then. About 30 ns a node of the trie that is met.
    """
    words = np.zeros(SET_WORDS, np.int64)
    add_first_bytes(mem, state, words)
    is_wide = _count_bits(words) >= _MANY_BYTES
    stack = np.empty(tokens_depth(tokens) + 2, np.int64)
    stack[0] = row_of(mem, table, state) if is_wide else state
    worst, i = 0, 0
    while i < len(tokens.byte):
        byte, level = word(tokens.byte[i]), word(tokens.depth[i])
        reached = 0
        if level or (words[byte >> 6] >> (byte & 63)) & 1:
            if is_wide:
                reached = after(mem, table, stack[level], byte)
            else:
                reached = _after(mem, stack[level], byte)
        if mem[STATUS] != OK:
            return 0
        if reached <= 0:
            i = word(tokens.end[i])
            continue
        stack[level + 1] = reached
        if tokens.token_start[i] < tokens.token_start[i + 1]:
            e = word(table[reached, EXPR]) if is_wide else reached
            needed = word(notes.tokens[e]) - 1
            if needed < 0:  # the call costs more than all else
                needed = tokens_to_end(mem, notes, index, e, max_length)
                if mem[STATUS] != OK or notes.words[WANTED]:
                    return 0
                if needed == UNSPELLED:
                    return ~e
            if needed <= max_tokens:
                allow(tokens.token_start, tokens.token_ids, i, row)
            worst = max(worst, needed)
        i += 1
    return worst


@jit
def _after(mem: Words, e: int, byte: int) -> int:
    """The state after a byte. It is not paid for as a state: hardly any will be entered."""
    known = recall(mem, e, byte + STEP_KEY)
    if known < 0:
        known = recall(mem, e, byte + AFTER_KEY)
    if known < 0:
        known = live(mem, derivative(mem, e, byte))
        remember(mem, e, byte + AFTER_KEY, known)
    return known


@jit
def tokens_depth(tokens: Tokens) -> int:
    """The most bytes before any node's own."""
    deepest, i = 0, 0
    while i < len(tokens.byte):
        deepest, i = max(deepest, word(tokens.height[i])), word(tokens.end[i])
    return deepest


@jit
def _count_bits(words: Words) -> int:
    count = 0
    for b in range(NUM_BYTES):
        count += (words[b >> 6] >> (b & 63)) & 1
    return count


@jit_with_arrays
def followers(mem: Words, notes: Notes, index: Index, tokens: Tokens, state: int) -> Words:
    """The states that some text token leads to."""
    stack = np.empty(tokens_depth(tokens) + 2, np.int64)
    stack[0] = state
    found = [word(state)]
    i = 0
    while i < len(tokens.byte) and mem[STATUS] == OK:
        reached = _after(mem, stack[word(tokens.depth[i])], word(tokens.byte[i]))
        if reached <= 0:
            i = word(tokens.end[i])
            continue
        stack[word(tokens.depth[i]) + 1] = reached
        if tokens.token_start[i] < tokens.token_start[i + 1] and notes.seat[reached] == 0:
            notes.seat[reached] = 1
            found.append(reached)
        i += 1
    for e in found:
        notes.seat[e] = 0
    return np.array(found)[1:]
