"""Making expressions: equal ones are the same integer (hash consing), simple ones stay simple.

Expressions are simplified while they are made, so that derivatives of a language come in few shapes
(Owens, Reppy, Turon 2009, "Regular-expression derivatives re-examined", section 4.1). What is
already there costs about 20 ns to find, a new one about 50 ns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.compiled import jit, word
from sestina.backend.grammar.core.memory import (
    ALL,
    ALPHABET,
    BODY,
    BOOLEAN,
    BYTE_SETS,
    CAT,
    COUNTED,
    EMPTY,
    EMPTY_KIND,
    EPSILON,
    EPSILON_KIND,
    EXPRESSIONS,
    FLAGS,
    HAS_SPECIAL,
    HASH,
    INHERITED,
    KIND,
    LIMIT_EXPRESSIONS,
    LIMIT_WORK,
    LITERAL,
    LONG,
    MAX_EXPRESSIONS,
    MAX_NODES,
    MAX_WORK,
    MIN_LEN,
    NODE_LEN,
    NODES,
    NODES_FULL,
    NOT,
    NULLABLE,
    NUM_NODES,
    OK,
    POOL,
    POOL_CAP,
    POOL_FULL,
    POOL_LEN,
    RECURSIVE,
    REPEAT,
    RULE,
    SET,
    SET_WORDS,
    SLOTS,
    SLOTS_MASK,
    SPECIAL,
    STATUS,
    TOP,
    WORK,
    Words,
    X,
    Y,
    Z,
    has,
    kind_of,
    min_len_of,
    node,
    push,
    x_of,
    y_of,
)

# A literal's tail shares the bytes of the whole until it is this short; short ones are told apart
# by their bytes, so that equal endings of different literals meet in one expression.
SHARED_TAIL = 32


@jit
def begin(mem: Words) -> None:
    """Make EMPTY, EPSILON and ALL in a new memory."""
    _add(mem, 0, EMPTY_KIND, 0, 0, 0, 0, LONG)
    intern(mem, EPSILON_KIND, 0, 0, 0, NULLABLE, 0)
    intern(mem, NOT, EMPTY, 0, 0, NULLABLE, 0)


@jit
def _add(
    mem: Words, hashed: int, kind: int, x: int, y: int, z: int, flags: int, min_len: int
) -> int:
    if mem[STATUS] != OK:
        return EMPTY
    new = mem[NUM_NODES]
    if new >= mem[MAX_NODES]:
        mem[STATUS] = NODES_FULL
        return EMPTY
    if mem[EXPRESSIONS] >= mem[MAX_EXPRESSIONS]:
        mem[STATUS] = LIMIT_EXPRESSIONS
        return EMPTY
    mem[EXPRESSIONS] += 1
    mem[NUM_NODES] = new + 1
    n = mem[NODES] + new * NODE_LEN
    mem[n : n + NODE_LEN] = 0
    mem[n + KIND] = kind
    mem[n + X] = x
    mem[n + Y] = y
    mem[n + Z] = z
    mem[n + FLAGS] = flags
    mem[n + MIN_LEN] = min(min_len, LONG)
    mem[n + HASH] = hashed
    return new


@jit
def _mix(h: int, value: int) -> int:
    h = (h ^ word(value)) * word(0x5BD1E995)
    return (h ^ (h >> 15)) & word(0x7FFFFFFF)


@jit
def intern(mem: Words, kind: int, x: int, y: int, z: int, flags: int, min_len: int) -> int:
    """The expression of these numbers."""
    h = _mix(_mix(_mix(_mix(word(kind), x), y), z), 11)
    at = h & mem[SLOTS_MASK]
    while True:
        e = mem[mem[SLOTS] + at]
        if e == 0:
            break
        n = mem[NODES] + e * NODE_LEN
        if mem[n + KIND] == kind and mem[n + X] == x and mem[n + Y] == y and mem[n + Z] == z:
            return e
        at = (at + 1) & mem[SLOTS_MASK]
    new = _add(mem, h, kind, x, y, z, flags, min_len)
    if new:
        mem[mem[SLOTS] + at] = new
    return new


@jit
def _find_words(mem: Words, kind: int, h: int, start: int, count: int) -> int:
    """Where in the hash table an expression of this kind with these words stands, or would."""
    at = h & mem[SLOTS_MASK]
    while True:
        e = mem[mem[SLOTS] + at]
        if e == 0:
            return at
        n = mem[NODES] + e * NODE_LEN
        if mem[n + HASH] == h and mem[n + KIND] == kind and mem[n + Y] == count:
            words = mem[POOL] + mem[n + X]
            same = True
            for k in range(count):
                if mem[words + k] != mem[start + k]:
                    same = False
                    break
            if same:
                return at
        at = (at + 1) & mem[SLOTS_MASK]


@jit
def _hash_words(mem: Words, kind: int, start: int, count: int) -> int:
    h = _mix(word(kind), count)
    for k in range(start, start + count):
        h = _mix(h, mem[k])
    return h


@jit
def intern_words(mem: Words, kind: int, start: int, count: int, flags: int, min_len: int) -> int:
    """The expression of the words mem[start : start + count], which are copied to the pool."""
    h = _hash_words(mem, kind, start, count)
    at = _find_words(mem, kind, h, start, count)
    found = mem[mem[SLOTS] + at]
    if found:
        return found
    x = mem[POOL_LEN]
    if x + count > mem[POOL_CAP]:
        if mem[STATUS] == OK:
            mem[STATUS] = POOL_FULL
        return EMPTY
    new = _add(mem, h, kind, x, count, 0, flags, min_len)
    if new:
        for k in range(count):
            mem[mem[POOL] + x + k] = mem[start + k]
        mem[POOL_LEN] = x + count
        mem[mem[SLOTS] + at] = new
    return new


@jit
def work(mem: Words, amount: int) -> None:
    """Count what is being looked at."""
    mem[WORK] += amount
    if mem[WORK] > mem[MAX_WORK] and mem[STATUS] == OK:
        mem[STATUS] = LIMIT_WORK


# ---- leaves


@jit
def byte_set(mem: Words, start: int) -> int:
    """One byte of the set in mem[start : start + 8], which is cut to the alphabet in place."""
    some = word(0)
    for w in range(SET_WORDS):
        mem[start + w] &= mem[ALPHABET + w]
        some |= mem[start + w]
    if some == 0:
        return EMPTY
    return intern_words(mem, SET, start, SET_WORDS, 0, 1)


@jit
def one_byte(mem: Words, b: int) -> int:
    """Exactly this byte, which the alphabet must have."""
    known = mem[BYTE_SETS + b]
    if known:
        return known
    start = mem[TOP]
    for w in range(SET_WORDS):
        push(mem, word(1) << word(b & 63) if w == b >> 6 else word(0))
    made = byte_set(mem, start)
    mem[TOP] = start
    if mem[STATUS] == OK:
        mem[BYTE_SETS + b] = made
    return made


@jit
def in_set(mem: Words, e: int, b: int) -> bool:
    """Whether the SET e has byte b."""
    return (mem[mem[POOL] + x_of(mem, e) + (b >> 6)] >> (b & 63)) & 1 != 0


@jit
def literal(mem: Words, x: int, count: int) -> int:
    """The bytes pool[x : x + count]. O(1) but for short ones."""
    if count == 0:
        return EPSILON
    if count == 1:
        return one_byte(mem, mem[mem[POOL] + x])
    if count > SHARED_TAIL:
        return intern(mem, LITERAL, x, count, 0, 0, count)
    start = mem[POOL] + x
    h = _hash_words(mem, LITERAL, start, count)
    at = _find_words(mem, LITERAL, h, start, count)
    found = mem[mem[SLOTS] + at]
    if found:
        return found
    new = _add(mem, h, LITERAL, x, count, 0, 0, count)
    if new:
        mem[mem[SLOTS] + at] = new
    return new


@jit
def special(mem: Words, k: int) -> int:
    """The control token of symbol NUM_BYTES + k."""
    return intern(mem, SPECIAL, k, 0, 0, HAS_SPECIAL, 1)


OF_BODY, RECURSIVE_IN, ALONE = range(3)
"""What tells a rule apart: its body; its body with a mark in its own place; its number."""


@jit
def rule(mem: Words, x: int, kind: int, flags: int) -> int:
    """A rule that matches something, told apart by x in the way of `kind`; flags: NULLABLE and
    HAS_SPECIAL. Give it a body (`set_body`) before taking derivatives."""
    min_len = 0 if flags & NULLABLE else 1
    return intern(mem, RULE, x, kind, 0, RECURSIVE | flags, min_len)


@jit
def set_body(mem: Words, e: int, body: int) -> None:
    """Say what a rule matches."""
    mem[node(mem, e) + BODY] = body


# ---- sequence, repetition, complement


@jit
def _prepend(mem: Words, head: int, rest: int) -> int:
    flags = (mem[node(mem, head) + FLAGS] | mem[node(mem, rest) + FLAGS]) & INHERITED
    if has(mem, head, NULLABLE) and has(mem, rest, NULLABLE):
        flags |= NULLABLE
    return intern(mem, CAT, head, rest, 0, flags, min_len_of(mem, head) + min_len_of(mem, rest))


@jit
def cat(mem: Words, first: int, rest: int) -> int:
    """first, then rest. O(number of factors of `first`)."""
    if first == EMPTY or rest == EMPTY:
        return EMPTY
    if first == EPSILON:
        return rest
    if rest == EPSILON:
        return first
    if kind_of(mem, first) != CAT:
        return _prepend(mem, first, rest)
    start = mem[TOP]
    while kind_of(mem, first) == CAT:
        push(mem, x_of(mem, first))
        first = y_of(mem, first)
    push(mem, first)
    for k in range(mem[TOP] - 1, start - 1, -1):
        rest = _prepend(mem, mem[k], rest)
    mem[TOP] = start
    return rest


@jit
def head_of(mem: Words, e: int) -> int:
    """The first factor of a sequence; anything else is its own."""
    return x_of(mem, e) if kind_of(mem, e) == CAT else e


@jit
def tail_of(mem: Words, e: int) -> int:
    """What follows the first factor."""
    return y_of(mem, e) if kind_of(mem, e) == CAT else EPSILON


@jit
def repeat(mem: Words, item: int, lo: int, hi: int) -> int:
    """lo to hi copies of item; hi -1 for any number."""
    if hi == 0 or item == EPSILON:
        return EPSILON
    if item == EMPTY:
        return EPSILON if lo == 0 else EMPTY
    if has(mem, item, NULLABLE):
        lo = 0  # a copy may be empty
    if (lo == 1 and hi == 1) or item == ALL:
        return item
    if hi < 0 and lo == 0:
        if kind_of(mem, item) == SET and _is_alphabet(mem, item):
            return ALL
        if kind_of(mem, item) == REPEAT and y_of(mem, item) == 0:
            item = x_of(mem, item)
    flags = mem[node(mem, item) + FLAGS] & INHERITED
    if lo == 0:
        flags |= NULLABLE
    if lo > 1 or hi > 1:
        flags |= COUNTED
    min_len = LONG if lo * min_len_of(mem, item) > LONG else lo * min_len_of(mem, item)
    return intern(mem, REPEAT, item, lo, hi, flags, min_len)


@jit
def _is_alphabet(mem: Words, e: int) -> bool:
    words = mem[POOL] + x_of(mem, e)
    for w in range(SET_WORDS):
        if mem[words + w] != mem[ALPHABET + w]:
            return False
    return True


@jit
def complement(mem: Words, item: int) -> int:
    """Every byte string that item does not match."""
    if item == ALL:
        return EMPTY
    if item == EMPTY:
        return ALL
    if kind_of(mem, item) == NOT:
        return x_of(mem, item)
    recursive = mem[node(mem, item) + FLAGS] & RECURSIVE
    if has(mem, item, NULLABLE):
        return intern(mem, NOT, item, 0, 0, recursive | BOOLEAN, 1)
    return intern(mem, NOT, item, 0, 0, recursive | NULLABLE, 0)


@jit
def pool_bytes(mem: Words, data: NDArray[np.uint8]) -> int:
    """Put a literal's bytes into the pool; returns where, or -1 if it is full."""
    x = mem[POOL_LEN]
    if x + len(data) > mem[POOL_CAP]:
        mem[STATUS] = POOL_FULL
        return -1
    for k in range(len(data)):
        mem[mem[POOL] + x + k] = data[k]
    mem[POOL_LEN] = x + len(data)
    return x
