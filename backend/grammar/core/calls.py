"""What Python calls: the core's functions on bare arrays. Look at mem[STATUS] after each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core import intern
from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.entries import (
    clamped,
    derivative,
    live,
    partition,
    repeat,
    step,
)
from sestina.backend.grammar.core.liveness import pay_for_state
from sestina.backend.grammar.core.memory import (
    ALIVE,
    BYTE_CLASS,
    DEAD,
    EMPTY,
    FLAGS,
    KIND,
    LITERAL,
    NULLABLE,
    NUM_BYTES,
    OK,
    POOL,
    SET_WORDS,
    STATUS,
    Int32s,
    Words,
    X,
    Y,
    Z,
    has,
    kind_of,
    node,
    x_of,
    y_of,
    z_of,
)
from sestina.backend.grammar.core.permute import body


@jit
def begin(mem: Words) -> None:
    """Make the first expressions of a new memory."""
    intern.begin(mem)


@jit
def add_bytes(mem: Words, data: NDArray[np.uint8]) -> int:
    """Put a long literal's bytes into the pool; returns where."""
    return intern.pool_bytes(mem, data)


@jit
def clamp(mem: Words, e: int, max_len: int) -> int:
    """See `clamp.clamped`."""
    return clamped(mem, e, max_len)


@jit
def enter(mem: Words, e: int) -> None:
    """Begin in a live expression: a state like those that follow."""
    pay_for_state(mem, e)


@jit
def make_live(mem: Words, e: int) -> int:
    """See `liveness.live`."""
    return live(mem, e)


@jit
def step_one(mem: Words, e: int, symbol: int) -> int:
    """The state after one symbol."""
    return step(mem, e, symbol)


@jit
def remainder(mem: Words, e: int, symbol: int) -> int:
    """The live remainder after a symbol, not counted as a state."""
    return live(mem, derivative(mem, e, symbol))


@jit
def advance(mem: Words, e: int, data: NDArray[np.uint8]) -> int:
    """The state after some bytes, EMPTY if they lead nowhere."""
    for b in data:
        if e == EMPTY or mem[STATUS] != OK:
            break
        e = step(mem, e, word(b))
    return e


@jit
def advance_token(
    mem: Words, e: int, spelling: NDArray[np.uint8], starts: Int32s, token_id: int
) -> int:
    """The state after the bytes spelling[starts[token_id] : starts[token_id + 1]]."""
    for k in range(starts[token_id], starts[token_id + 1]):
        if e == EMPTY or mem[STATUS] != OK:
            break
        e = step(mem, e, word(spelling[k]))
    return e


@jit
def mark_liveness(mem: Words, e: int, is_alive: bool) -> None:
    """Note what was found out elsewhere about an expression."""
    mem[node(mem, e) + FLAGS] |= ALIVE if is_alive else DEAD


@jit_with_arrays
def columns_of(mem: Words, e: int) -> Words:
    """kind, x, y, z and flags of an expression."""
    n = node(mem, e)
    return np.array([mem[n + KIND], mem[n + X], mem[n + Y], mem[n + Z], mem[n + FLAGS]])


@jit
def language_of(mem: Words, e: int) -> int:
    """See `permute.body`."""
    return body(mem, e)


@jit
def one_less(mem: Words, e: int) -> int:
    """What follows one copy in a REPEAT."""
    lo, hi = y_of(mem, e), z_of(mem, e)
    return repeat(mem, x_of(mem, e), max(lo - 1, 0), hi if hi < 0 else hi - 1)


@jit
def flags_of(mem: Words, e: int) -> int:
    """The flags of an expression."""
    return mem[node(mem, e) + FLAGS]


@jit_with_arrays
def next_bytes(mem: Words, e: int) -> Words:
    """The bytes that may follow a state, as a set of SET_WORDS words."""
    partition(mem, e)
    classes = mem[BYTE_CLASS : BYTE_CLASS + NUM_BYTES].copy()  # liveness makes its own
    after = np.full(NUM_BYTES, -1, np.int64)
    words = np.zeros(SET_WORDS, np.int64)
    for b in range(NUM_BYTES):
        k = classes[b]
        if after[k] < 0:
            after[k] = live(mem, derivative(mem, e, b))
        if after[k]:
            words[b >> 6] |= word(1) << word(b & 63)
    return words


@jit_with_arrays
def next_symbol(mem: Words, e: int) -> int:
    """The only byte that can follow a state; -1 for none, -2 for many."""
    head = intern.head_of(mem, e)
    if kind_of(mem, head) == LITERAL and not has(mem, e, NULLABLE):
        return mem[mem[POOL] + x_of(mem, head)]
    words = next_bytes(mem, e)
    found = -1
    for b in range(NUM_BYTES):
        if (words[b >> 6] >> (b & 63)) & 1:
            if found >= 0:
                return -2
            found = b
    return found
