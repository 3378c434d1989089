"""How far the ends of texts are, for rows of the dense table; asked only about near ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.dense import ACCEPTING, REST, UNKNOWN, after
from sestina.backend.grammar.core.memory import NUM_BYTES, OK, STATUS, Int32s, Words

MAX_REST = 32
"""Bytes of an ending that is looked for. What is farther counts as MAX_REST + 1."""

_MAX_ROWS = 256
"""Rows that one search looks at; beyond them the end counts as far."""


@jit_with_arrays
def longest_rest(mem: Words, table: Int32s, is_asked: NDArray[np.bool_]) -> int:
    """The longest of the shortest endings of the rows asked for, the dead one left out.

    As bytes, up to MAX_REST + 1. Look at mem[STATUS] afterwards.
    """
    todo = np.empty(_MAX_ROWS, np.int64)
    longest = 0
    for row in np.nonzero(is_asked)[0]:
        if row > 0 and longest <= MAX_REST and mem[STATUS] == OK:
            longest = max(longest, rest(mem, table, word(row), todo))
    return longest


@jit
def rest(mem: Words, table: Int32s, row: int, todo: Words) -> int:
    """Bytes of the shortest text that a row matches, if at most MAX_REST; by breadth.

    todo: [_MAX_ROWS], scratch. O(rows looked at * those before), most often two or three.
    """
    if table[row, REST] != UNKNOWN:
        return word(table[row, REST])
    best = MAX_REST + 1
    count, level, level_end = 1, 0, 1
    todo[0] = row
    k = 0
    while k < count and level < best:
        here = todo[k]
        if table[here, ACCEPTING]:
            best = level
        elif table[here, REST] != UNKNOWN:
            best = min(best, level + word(table[here, REST]))
        else:
            count = _add_following(mem, table, here, todo, count)
            if count < 0:
                best = MAX_REST + 1
                break
        k += 1
        if k == level_end:
            level, level_end = level + 1, count
    if mem[STATUS] == OK:
        table[row, REST] = best
    return best


@jit
def _add_following(mem: Words, table: Int32s, row: int, todo: Words, count: int) -> int:
    """Add the rows after each byte that are not there yet; how many there are, -1 if too many."""
    last = 0
    for b in range(NUM_BYTES):
        reached = after(mem, table, row, b)
        if mem[STATUS] != OK:
            return -1
        if reached in (0, last):
            continue
        last = reached
        is_new = True
        for k in range(count):
            is_new = is_new and todo[k] != reached
        if is_new:
            if count == len(todo):
                return -1
            todo[count] = reached
            count += 1
    return count
