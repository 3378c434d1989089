"""The automaton's dense table: rows of transitions for what masks walk byte by byte.

Only loops over many characters and what And and Not make are walked so; everything else is walked
as it is (`threads`). A row is an expression's state: int32 [table rows, ROW_LEN], columns

    0 .. 255    the row after each byte, DEAD_ROW, or UNKNOWN until it is asked for
    EXPR        the expression       ACCEPTING   1 if it matches the empty text
    LOOPS       the groups of bytes (see `group_of`) after which the row is the same again, but for
                counters, which SLACK such bytes in a row do not exhaust
    REST        bytes of the shortest text it matches, UNKNOWN until asked for, see `rest`

Row DEAD_ROW is the language without texts. A row is filled as a whole when its first byte is asked.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.entries import both, cat, derivative, live, partition, repeat
from sestina.backend.grammar.core.intern import head_of, tail_of
from sestina.backend.grammar.core.liveness import pay_for_state
from sestina.backend.grammar.core.memory import (
    ALT,
    AND,
    BYTE_CLASS,
    CAT,
    DENSE,
    EMPTY,
    FLAGS,
    LONG,
    NARROW,
    NOT,
    NULLABLE,
    NUM_BYTES,
    NUM_DENSE,
    OK,
    PERMUTE,
    POOL,
    REPEAT,
    RULE,
    SPECIAL,
    STATUS,
    TABLE_FULL,
    TOP,
    WIDE,
    Int32s,
    Words,
    has,
    kind_of,
    node,
    push,
    x_of,
    y_of,
    z_of,
)

DEAD_ROW, UNKNOWN = 0, -1
EXPR, ACCEPTING, LOOPS, SLACK, REST = range(NUM_BYTES, NUM_BYTES + 5)
ROW_LEN = NUM_BYTES + 5

# A loop over so many bytes or more is walked as an automaton, if its item has at most _MAX_ITEM
# parts and none of them is itself a loop of more than _MAX_COPIES.
_WIDE = 16
_MAX_ITEM = 500
_MAX_COPIES = 8


def new_table(num_rows: int) -> Int32s:
    """A table with room for so many rows, and none but the dead one."""
    table = np.full((num_rows, ROW_LEN), UNKNOWN, np.int32)
    table[DEAD_ROW] = DEAD_ROW
    return table


@jit
def group_of(byte: int) -> int:
    """A group of bytes: letters and digits, a few signs each, bytes of longer characters.

    Where all bytes below a node of the trie are of groups that lead back to the same row, all
    tokens there are allowed, and nothing need be walked.
    """
    if byte == 0x20:
        return 0
    if 0x61 <= byte <= 0x7A:
        return 1
    if 0x41 <= byte <= 0x5A:
        return 2
    if 0x30 <= byte <= 0x39:
        return 3
    if byte >= 0x80:
        return 4
    return 5 + byte % 10 if byte >= 0x21 else 15


_NUM_GROUPS = 16


@jit
def row_of(mem: Words, table: Int32s, e: int) -> int:
    """The row of a live expression."""
    if e == EMPTY:
        return DEAD_ROW
    row = mem[node(mem, e) + DENSE]
    if row:
        return row
    row = mem[NUM_DENSE] + 1
    if row >= len(table):
        if mem[STATUS] == OK:
            mem[STATUS] = TABLE_FULL
        return DEAD_ROW
    pay_for_state(mem, e)
    mem[NUM_DENSE] = row
    mem[node(mem, e) + DENSE] = row
    table[row, :NUM_BYTES] = UNKNOWN
    table[row, EXPR] = e
    table[row, ACCEPTING] = has(mem, e, NULLABLE)
    table[row, LOOPS], table[row, SLACK], table[row, REST] = 0, 0, UNKNOWN
    return row


@jit
def after(mem: Words, table: Int32s, row: int, byte: int) -> int:
    """The row after a byte."""
    if table[row, byte] == UNKNOWN:
        _expand(mem, table, row)
    return word(table[row, byte])


@jit_with_arrays
def _expand(mem: Words, table: Int32s, row: int) -> None:
    e = word(table[row, EXPR])
    count = partition(mem, e)
    classes = mem[BYTE_CLASS : BYTE_CLASS + NUM_BYTES].copy()  # liveness makes its own
    targets = np.full(count, UNKNOWN, np.int64)
    for b in range(NUM_BYTES):
        k = classes[b]
        if targets[k] == UNKNOWN:
            targets[k] = row_of(mem, table, live(mem, derivative(mem, e, b)))
            if mem[STATUS] != OK:
                return
    again, slack = _again(mem, e)
    if mem[STATUS] != OK:
        return
    loops = (1 << _NUM_GROUPS) - 1
    for b in range(NUM_BYTES):
        target = targets[classes[b]]
        table[row, b] = target
        if table[target, EXPR] != again:
            loops &= ~(1 << group_of(b))
    table[row, SLACK] = slack
    table[row, LOOPS] = loops


@jit
def _again(mem: Words, e: int) -> tuple[int, int]:
    """What e is after a byte that changes nothing but its counters, and how many such bytes they
    bear. In an And all parts count at once, and with a bound on one of them the others may come to
    have no text that is short enough: then it bears none."""
    if kind_of(mem, e) != AND:
        return _part_again(mem, e)
    slack, start = LONG, mem[TOP]
    for k in range(y_of(mem, e)):
        part, bears = _part_again(mem, mem[mem[POOL] + x_of(mem, e) + k])
        push(mem, part)
        if bears < LONG:
            slack = 0
    return both(mem, start), slack


@jit
def _part_again(mem: Words, e: int) -> tuple[int, int]:
    head = head_of(mem, e)
    if kind_of(mem, head) != REPEAT:
        return e, LONG
    lo, hi = y_of(mem, head), z_of(mem, head)
    if hi < 0:
        rest = repeat(mem, x_of(mem, head), max(lo - 1, 0), -1)
        return cat(mem, rest, tail_of(mem, e)), LONG
    rest = repeat(mem, x_of(mem, head), max(lo - 1, 0), hi - 1)
    return cat(mem, rest, tail_of(mem, e)), hi


@jit
def is_state(mem: Words, e: int) -> bool:
    """Whether e is walked as an automaton: And and Not, which cannot be walked otherwise, and loops
    over many characters, which have few states and would make many threads."""
    kind = kind_of(mem, e)
    if kind != REPEAT:
        return kind in (AND, NOT)
    item = node(mem, x_of(mem, e)) + FLAGS
    if not mem[item] & (WIDE | NARROW):
        found = WIDE if _is_wide(mem, x_of(mem, e)) else NARROW
        if mem[STATUS] == OK:
            mem[item] |= found
    return mem[item] & WIDE != 0


@jit
def _is_wide(mem: Words, item: int) -> bool:
    if not _is_flat(mem, item):
        return False
    dead = -1  # the class that no set has, if any
    partition(mem, item)
    for b in range(NUM_BYTES):
        if derivative(mem, item, b) == EMPTY:
            dead = mem[BYTE_CLASS + b]
            break
    count = 0
    for b in range(NUM_BYTES):
        count += mem[BYTE_CLASS + b] != dead
    return count >= _WIDE


@jit
def _is_flat(mem: Words, item: int) -> bool:
    """Whether an item is a small regular expression without large loops."""
    start = mem[TOP]
    flat, count = True, 0
    push(mem, item)
    while mem[TOP] > start and flat:
        mem[TOP] -= 1
        e = mem[mem[TOP]]
        kind = kind_of(mem, e)
        count += 1
        if count > _MAX_ITEM or kind in (RULE, AND, NOT, SPECIAL, PERMUTE):
            flat = False
        elif kind == CAT:
            push(mem, x_of(mem, e))
            push(mem, y_of(mem, e))
        elif kind == ALT:
            for k in range(y_of(mem, e)):
                push(mem, mem[mem[POOL] + x_of(mem, e) + k])
        elif kind == REPEAT:
            flat = 0 <= z_of(mem, e) <= _MAX_COPIES
            for _ in range(z_of(mem, e)):
                push(mem, x_of(mem, e))
    mem[TOP] = start
    return flat
