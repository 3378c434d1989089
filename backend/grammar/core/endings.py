"""How long the shortest text of an expression is, rules and booleans included.

With rules it is the least solution of one equation for each expression (Knuth 1977, "A
generalization of Dijkstra's algorithm"), found here by going round until nothing changes: parts
come before what they are part of, so that one round settles everything but recursion.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.ending_search import search
from sestina.backend.grammar.core.ending_words import (
    WANTED,
    Notes,
    is_searched,
    known_length,
    sum_of,
)
from sestina.backend.grammar.core.memory import (
    ALT,
    CAT,
    EPOCH,
    LONG,
    OK,
    PERMUTE,
    POOL,
    POSITION,
    REPEAT,
    RULE,
    SEEN,
    STATUS,
    Words,
    kind_of,
    node,
    x_of,
    y_of,
    z_of,
)
from sestina.backend.grammar.core.permute import body, parts_to_come, separator_of


@jit_with_arrays
def length_of(mem: Words, notes: Notes, e: int) -> int:
    """Symbols of the shortest text of e, LONG for that many or none.

    What was asked before takes 10 ns; a new state about 100 ns for each part that is new. Look at
    mem[STATUS] and at notes.words[WANTED] afterwards.
    """
    known = known_length(mem, notes, e)
    if known >= 0:
        return known
    order = _unknown_parts(mem, notes, e)
    for part in order:
        if is_searched(mem, part):
            search(mem, notes, part)
            if mem[STATUS] != OK or notes.words[WANTED]:
                return LONG
    lengths = np.full(len(order), LONG, np.int64)
    for k in range(len(order)):
        mem[node(mem, order[k]) + POSITION] = k
    changed = True
    while changed:
        changed = False
        for k in range(len(order)):
            length = _from_parts(mem, notes, order[k], lengths)
            if length < lengths[k]:
                lengths[k] = length
                changed = True
    for k in range(len(order)):
        notes.length[order[k]] = 1 + lengths[k]
    return known_length(mem, notes, e)


@jit_with_arrays
def _unknown_parts(mem: Words, notes: Notes, e: int) -> list[int]:
    """e and all parts whose lengths it depends on, unless known; parts first but for recursion."""
    mem[EPOCH] += 1
    epoch = mem[EPOCH]
    order = [word(e)]
    order.clear()
    todo = [(word(e), False)]
    while len(todo):
        e, done = todo.pop()
        if done:
            order.append(e)
            continue
        if mem[node(mem, e) + SEEN] == epoch or known_length(mem, notes, e) >= 0:
            continue
        mem[node(mem, e) + SEEN] = epoch
        todo.append((e, True))
        kind = kind_of(mem, e)
        if kind == CAT:
            todo.append((y_of(mem, e), False))
            todo.append((x_of(mem, e), False))
        elif kind == ALT:
            for k in range(y_of(mem, e)):
                todo.append((mem[mem[POOL] + x_of(mem, e) + k], False))
        elif kind == REPEAT:
            todo.append((x_of(mem, e), False))
        elif kind == RULE:
            todo.append((body(mem, e), False))
        elif kind == PERMUTE:
            must, may, more = parts_to_come(mem, e)
            todo.append((separator_of(mem, e), False))
            for part in must:
                todo.append((part, False))
            if more:
                for part in may:
                    todo.append((part, False))
    return order


@jit
def _from_parts(mem: Words, notes: Notes, e: int, lengths: Words) -> int:
    kind = kind_of(mem, e)
    if kind == CAT:
        first = _now(mem, notes, x_of(mem, e), lengths)
        return sum_of(first, _now(mem, notes, y_of(mem, e), lengths))
    if kind == ALT:
        least = word(LONG)
        for k in range(y_of(mem, e)):
            part = mem[mem[POOL] + x_of(mem, e) + k]
            least = min(least, _now(mem, notes, part, lengths))
        return least
    if kind == REPEAT:
        return min(y_of(mem, e) * _now(mem, notes, x_of(mem, e), lengths), LONG)
    if kind == RULE:
        return _now(mem, notes, body(mem, e), lengths)
    if kind == PERMUTE:
        return _in_any_order(mem, notes, e, lengths)
    return known_length(mem, notes, e)


@jit_with_arrays
def _in_any_order(mem: Words, notes: Notes, e: int, lengths: Words) -> int:
    """The parts that must come, the shortest of those that fill up, and what is between them."""
    must, may, more = parts_to_come(mem, e)
    total = word(0)
    for part in must:
        total = sum_of(total, _now(mem, notes, part, lengths))
    if more:
        fillers = np.empty(len(may), np.int64)
        for k in range(len(may)):
            fillers[k] = _now(mem, notes, may[k], lengths)
        fillers.sort()
        for k in range(more):
            total = sum_of(total, fillers[k])
    gaps = len(must) + more - (0 if z_of(mem, e) else 1)
    return sum_of(total, min(gaps * _now(mem, notes, separator_of(mem, e), lengths), LONG))


@jit
def _now(mem: Words, notes: Notes, e: int, lengths: Words) -> int:
    """A part's length as far as the rounds have come."""
    known = known_length(mem, notes, e)
    return known if known >= 0 else lengths[mem[node(mem, e) + POSITION]]
