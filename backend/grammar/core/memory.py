"""The memory of the engine's core: one int64 array that compiled functions read and write.

Numba functions are called with it and little else, so that a call costs one argument; all its
words are of one type, so that each function is compiled once. It holds a header, the expressions, a
pool for lists of any length, a hash table over the expressions, a memo of derivatives, and a stack:

    mem[0 : HEADER_LEN]              offsets, lengths, flags and what was spent, named below
    mem[NODES] + e * NODE_LEN        expression e, columns KIND .. POSITION
    mem[POOL] ...                    bytes of literals (one a word), words of byte sets, item lists
    mem[SLOTS] ...                   open addressing: an expression, or 0
    mem[MEMO] ...                    open addressing: (expression, symbol, result), or zeros
    mem[STACK] ... mem[TOP]          operands that are being gathered

When a region is full, the function in progress sets STATUS and returns something meaningless; the
caller (`sestina.backend.grammar.machine`) enlarges the region and calls again. That is safe because
nothing is ever changed but by adding: whatever was made before is found again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.compiled import jit

Words = NDArray[np.int64]
Int32s = NDArray[np.int32]

# ---- the header

(
    NODES,
    NUM_NODES,
    MAX_NODES,
    POOL,
    POOL_LEN,
    POOL_CAP,
    SLOTS,
    SLOTS_MASK,
    MEMO,
    MEMO_MASK,
    NUM_MEMO,
    STACK,
    TOP,
    STACK_END,
    STATUS,
    EPOCH,
    DEPTH,
    NUM_DENSE,
    NUM_COMPONENTS,
    NUM_ENTRIES,
    ASKED,
    NUM_RULES,
    ALGEBRA,  # the addresses of what `entries` calls
    LANGUAGE,
) = range(24)

SPENT = 26
"""Where the account of the grammar that pays is: what it has used, and at most may."""
(
    EXPRESSIONS,
    STATES,
    MAX_EXPRESSIONS,
    MAX_STATES,
    MAX_LIVENESS_STEPS,
    MAX_DEPTH,
    WORK,  # parts of expressions looked at in the call in progress
    MAX_WORK,
) = range(SPENT, SPENT + 8)
NUM_SPENT = 8

NUM_BYTES = 256
SET_WORDS = 4

ALPHABET = 34  # SET_WORDS words: the bytes that texts are made of
BYTE_SETS = ALPHABET + SET_WORDS  # NUM_BYTES words: the expression of each byte, 0 until made
BYTE_CLASS = BYTE_SETS + NUM_BYTES  # NUM_BYTES words: see `derive.partition`
CLASSES = BYTE_CLASS + NUM_BYTES  # SET_WORDS words for each of NUM_BYTES classes: likewise
HEADER_LEN = CLASSES + SET_WORDS * NUM_BYTES

# ---- what an expression is: its kind, with the meaning of its numbers x, y, z

(
    EMPTY_KIND,  # no text at all
    EPSILON_KIND,  # the empty text
    SET,  # pool[x : x + SET_WORDS] one byte of a set
    LITERAL,  # pool[x : x + y] these bytes, at least two
    CAT,  # x, then y; x is no CAT
    ALT,  # pool[x : x + y] any of these, sorted, at least two, none an ALT
    AND,  # pool[x : x + y] all of these at once, likewise
    NOT,  # every byte string that x does not match
    REPEAT,  # y to z copies of x; z -1 is no upper bound
    RULE,  # its BODY, which may contain the rule itself; x and y tell rules apart
    SPECIAL,  # the control token of symbol NUM_BYTES + x
    PERMUTE,  # parts in any order; see `permute` for this and the two below, which are no languages
    TEMPLATE,
    SEEN_PARTS,
) = range(14)

EMPTY, EPSILON, ALL = 0, 1, 2
"""The expressions that every machine begins with: nothing, the empty text, every byte string."""

(
    *(KIND, X, Y, Z, FLAGS, MIN_LEN, LIVE, DENSE, COMPONENT, COUNTING, HASH, MARK, SEEN, POSITION),
    BODY,
) = range(15)
NODE_LEN = 15

# MIN_LEN: bytes of the shortest text; at most that where BOOLEAN, RECURSIVE or PERMUTED.
# LIVE: 1 + what `liveness.live` made of it, 0 until asked. DENSE: its row of the table, 0 if none.
# COMPONENT: 1 + its number, see `components`, 0 if it has none yet. COUNTING: the same of the loops
# over it, see `counted`. MARK, SEEN, POSITION: scratch of searches, valid in one epoch. BODY: what
# a RULE or PERMUTE stands for.

NULLABLE = 1  # matches the empty text
BOOLEAN = 2  # has an And or Not that could match nothing
ALIVE = 4  # surely matches something, though BOOLEAN
DEAD = 8  # matches nothing, though it is not EMPTY
COUNTED = 16  # has counters that `clamp` may lower
HAS_SPECIAL = 32  # has control tokens
RECURSIVE = 64  # has rules
IS_STATE = 128  # was paid for as a state
WIDE = 256  # a loop over it is walked as an automaton
NARROW = 512  # it is not; neither bit: not looked at yet
PERMUTED = 1024  # has parts in any order

INHERITED = BOOLEAN | COUNTED | HAS_SPECIAL | RECURSIVE | PERMUTED

LONG = 1 << 28
"""Lengths and counts stop here."""

# ---- what STATUS says

OK, NODES_FULL, POOL_FULL, STACK_FULL, MEMO_FULL, TABLE_FULL, COMPONENTS_FULL, ASK_LIVENESS = range(
    8
)
LIMIT_EXPRESSIONS, LIMIT_STATES, LIMIT_LIVENESS, LIMIT_DEPTH, LIMIT_WORK = range(16, 21)


MAX_MEMO = 1 << 19
"""Entries of a memo that grows no more: when it is full, it is emptied."""


def new_memory(num_nodes: int, alphabet: Words) -> Words:
    """Memory for `num_nodes` expressions, a power of two, without any yet.

    alphabet: SET_WORDS words.
    """
    header = np.zeros(HEADER_LEN, np.int64)
    header[ALPHABET : ALPHABET + SET_WORDS] = alphabet
    memo = 4 * num_nodes
    return _laid_out(header, num_nodes, 4 * num_nodes, memo, max(4 * num_nodes, 1 << 14))


def enlarged(mem: Words, status: int) -> Words:
    """A copy with four times the room in the region that `status` says is full.

    The memo begins afresh, being no more than a memo.
    """
    sizes = {
        NODES_FULL: int(mem[MAX_NODES]),
        POOL_FULL: int(mem[POOL_CAP]),
        MEMO_FULL: int(mem[MEMO_MASK]) + 1,
        STACK_FULL: int(mem[STACK_END] - mem[STACK]),
    }
    sizes[status] *= 4
    new = _laid_out(mem[:HEADER_LEN].copy(), *sizes.values())
    for region, used in (
        (NODES, NODE_LEN * int(mem[NUM_NODES])),
        (POOL, int(mem[POOL_LEN])),
    ):
        new[new[region] : new[region] + used] = mem[mem[region] : mem[region] + used]
    _rehash(new)
    new[NUM_MEMO] = 0
    return new


def _laid_out(header: Words, num_nodes: int, pool: int, memo: int, stack: int) -> Words:
    """Regions of these sizes behind the header."""
    at = HEADER_LEN
    header[NODES], header[MAX_NODES] = at, num_nodes
    at += NODE_LEN * num_nodes
    header[POOL], header[POOL_CAP] = at, pool
    at += pool
    header[SLOTS], header[SLOTS_MASK] = at, 2 * num_nodes - 1
    at += 2 * num_nodes
    header[MEMO], header[MEMO_MASK] = at, memo - 1
    at += 3 * memo
    header[STACK], header[TOP], header[STACK_END] = at, at, at + stack
    mem = np.zeros(at + stack, np.int64)
    mem[:HEADER_LEN] = header
    return mem


@jit
def _rehash(mem: Words) -> None:
    mask = mem[SLOTS_MASK]
    for e in range(1, mem[NUM_NODES]):
        at = mem[mem[NODES] + e * NODE_LEN + HASH] & mask
        while mem[mem[SLOTS] + at]:
            at = (at + 1) & mask
        mem[mem[SLOTS] + at] = e


# ---- columns


@jit
def node(mem: Words, e: int) -> int:
    """Where the columns of e begin."""
    return mem[NODES] + e * NODE_LEN


@jit
def kind_of(mem: Words, e: int) -> int:
    return mem[mem[NODES] + e * NODE_LEN + KIND]


@jit
def x_of(mem: Words, e: int) -> int:
    return mem[mem[NODES] + e * NODE_LEN + X]


@jit
def y_of(mem: Words, e: int) -> int:
    return mem[mem[NODES] + e * NODE_LEN + Y]


@jit
def z_of(mem: Words, e: int) -> int:
    return mem[mem[NODES] + e * NODE_LEN + Z]


@jit
def has(mem: Words, e: int, flag: int) -> bool:
    """Whether e has one of these flags."""
    return (mem[mem[NODES] + e * NODE_LEN + FLAGS] & flag) != 0


@jit
def min_len_of(mem: Words, e: int) -> int:
    return mem[mem[NODES] + e * NODE_LEN + MIN_LEN]


# ---- the stack


@jit
def push(mem: Words, value: int) -> None:
    top = mem[TOP]
    if top >= mem[STACK_END]:
        mem[STATUS] = STACK_FULL
        return
    mem[top] = value
    mem[TOP] = top + 1


# ---- the memo: derivatives by their symbol, other results by these and something small

STEP_KEY = 1 << 20
CLAMP_KEY = 1 << 21


@jit
def _memo_slot(mem: Words, e: int, symbol: int) -> int:
    mask = mem[MEMO_MASK]
    at = ((e * 1000003 + symbol * 7919) >> 3) & mask
    while True:
        slot = mem[MEMO] + 3 * at
        if mem[slot] == 0 or (mem[slot] == e and mem[slot + 1] == symbol):
            return slot
        at = (at + 1) & mask


@jit
def recall(mem: Words, e: int, symbol: int) -> int:
    """What was remembered about (e, symbol), or -1."""
    slot = _memo_slot(mem, e, symbol)
    return mem[slot + 2] if mem[slot] else -1


@jit
def remember(mem: Words, e: int, symbol: int, result: int) -> None:
    """Keep a result, unless the computation has gone wrong; not of EMPTY, which is a free slot."""
    if mem[STATUS] != OK or e == EMPTY:
        return
    if 2 * mem[NUM_MEMO] > mem[MEMO_MASK]:
        if mem[MEMO_MASK] + 1 < MAX_MEMO:
            mem[STATUS] = MEMO_FULL
            return
        # At once, and not by way of the caller: it would begin again, and need as much again.
        mem[mem[MEMO] : mem[MEMO] + 3 * (mem[MEMO_MASK] + 1)] = 0
        mem[NUM_MEMO] = 0
    slot = _memo_slot(mem, e, symbol)
    if mem[slot] == 0:
        mem[NUM_MEMO] += 1
    mem[slot] = e
    mem[slot + 1] = symbol
    mem[slot + 2] = result
