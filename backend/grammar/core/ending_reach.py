"""How far from its end one token can bring a text, without looking at any: an upper bound.

After k symbols, a text stands in some part of the expression, behind which the rest is still to
come; recursion goes deeper by at most one part for each of the k symbols. So the bound is put
together from those of the parts, as the lengths are. What And and Not leave has no longer shortest
text than its longest, nor than its number of states, since it passes through each once at most.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays, word
from sestina.backend.grammar.core.ending_search import first_bytes_of_classes
from sestina.backend.grammar.core.ending_words import Notes, sum_of
from sestina.backend.grammar.core.endings import length_of
from sestina.backend.grammar.core.entries import derivative, live
from sestina.backend.grammar.core.memory import (
    ALL,
    ALT,
    AND,
    CAT,
    EMPTY,
    LITERAL,
    LONG,
    NUM_BYTES,
    OK,
    PERMUTE,
    POOL,
    RECURSIVE,
    REPEAT,
    RULE,
    SET,
    SPECIAL,
    STATUS,
    Words,
    has,
    kind_of,
    min_len_of,
    recall,
    remember,
    x_of,
    y_of,
    z_of,
)
from sestina.backend.grammar.core.permute import all_parts, body, separator_of

REACH_KEY, LONGEST_KEY = 1 << 23, 1 << 24
_MAX_STEPS = 20_000
_MAX_STATES = 500
_MAX_LONGEST = 2000


@jit_with_arrays
def reach(mem: Words, notes: Notes, e: int, num_symbols: int) -> int:
    """The most symbols that a shortest text has after at most `num_symbols` of a text of e.

    An upper bound; LONG where And or Not have many states, or it takes too many steps. About 1 us
    for a new state, a few ms the first time that one of And or Not is met. Look at mem[STATUS] and
    at notes.words[WANTED] afterwards.
    """
    known = _known(mem, e, num_symbols)
    if known >= 0:
        return known
    todo = [(word(e), word(num_symbols))]
    steps = 0
    while len(todo) and mem[STATUS] == OK and steps < _MAX_STEPS:
        steps += 1
        part, left = todo[-1]
        num_todo = len(todo)
        if _known(mem, part, left) < 0:
            found = _bound(mem, notes, part, left, todo)
            if len(todo) == num_todo:
                remember(mem, part, _key(mem, part, left), found)
        if len(todo) == num_todo:
            todo.pop()
    return _known(mem, e, num_symbols) if len(todo) == 0 else LONG


@jit
def _key(mem: Words, e: int, num_symbols: int) -> int:
    """Without recursion, the bound holds after any number of symbols."""
    return REACH_KEY + (1 + num_symbols if has(mem, e, RECURSIVE) else 0)


@jit
def _known(mem: Words, e: int, num_symbols: int) -> int:
    """The bound of an expression if it is at hand, else -1."""
    kind = kind_of(mem, e)
    if e == ALL:
        return 0
    if kind in (SET, SPECIAL):
        return 1
    if kind == LITERAL:
        return y_of(mem, e)
    if kind < SET:
        return 0
    return recall(mem, e, _key(mem, e, num_symbols))


@jit_with_arrays
def _bound(mem: Words, notes: Notes, e: int, num_symbols: int, todo: list[tuple[int, int]]) -> int:
    """The bound from those of the parts; the parts whose bounds are missing are added to `todo`."""
    kind = kind_of(mem, e)
    if kind == CAT:
        head, tail = x_of(mem, e), y_of(mem, e)
        inside = _part(mem, head, num_symbols, todo)
        most = sum_of(inside, length_of(mem, notes, tail))
        left = num_symbols - min_len_of(mem, head)
        return max(most, _part(mem, tail, left, todo)) if left >= 0 else most
    if kind == ALT:
        most = word(0)
        for k in range(y_of(mem, e)):
            most = max(most, _part(mem, mem[mem[POOL] + x_of(mem, e) + k], num_symbols, todo))
        return most
    if kind == REPEAT:
        others = max(y_of(mem, e) - 1, 0) * length_of(mem, notes, x_of(mem, e))
        return sum_of(_part(mem, x_of(mem, e), num_symbols, todo), min(others, LONG))
    if kind == RULE:
        return _part(mem, body(mem, e), num_symbols, todo)
    if kind == PERMUTE:
        return _in_any_order(mem, notes, e, num_symbols, todo)
    longest = _longest(mem, e)
    return longest if longest <= _MAX_LONGEST else _num_states(mem, notes, e)


@jit_with_arrays
def _in_any_order(
    mem: Words, notes: Notes, e: int, num_symbols: int, todo: list[tuple[int, int]]
) -> int:
    """The rest of one part or separator, then what is missing, which never gets longer.

    After a separator there is a part, even where none is missing.
    """
    separator = separator_of(mem, e)
    inside, longest = word(0), word(0)
    for part in all_parts(mem, e):
        inside = max(inside, _part(mem, part, num_symbols, todo))
        longest = max(longest, length_of(mem, notes, part))
    between = sum_of(_part(mem, separator, num_symbols, todo), longest)
    missing = sum_of(length_of(mem, notes, e), length_of(mem, notes, separator))
    return sum_of(max(inside, between), missing)


@jit_with_arrays
def _longest(mem: Words, e: int) -> int:
    """Bytes of the longest text of an expression; LONG for no end of them, or where rules are."""
    todo = [word(e)]
    while len(todo) and mem[STATUS] == OK:
        part = todo[-1]
        num_todo = len(todo)
        if recall(mem, part, LONGEST_KEY) < 0:
            found = _longest_of_parts(mem, part, todo)
            if len(todo) == num_todo:
                remember(mem, part, LONGEST_KEY, found)
        if len(todo) == num_todo:
            todo.pop()
    return recall(mem, e, LONGEST_KEY)


@jit_with_arrays
def _longest_of_parts(mem: Words, e: int, todo: list[int]) -> int:
    """From the parts; those that are missing are added to `todo`."""
    kind = kind_of(mem, e)
    if kind in (SET, SPECIAL):
        return word(1)
    if kind == LITERAL:
        return y_of(mem, e)
    if kind == CAT:
        first = _longest_or_push(mem, x_of(mem, e), todo)
        return sum_of(first, _longest_or_push(mem, y_of(mem, e), todo))
    if kind == REPEAT and z_of(mem, e) >= 0:
        return min(z_of(mem, e) * _longest_or_push(mem, x_of(mem, e), todo), LONG)
    if kind in (ALT, AND):
        best = _longest_or_push(mem, mem[mem[POOL] + x_of(mem, e)], todo)
        for k in range(1, y_of(mem, e)):
            part = _longest_or_push(mem, mem[mem[POOL] + x_of(mem, e) + k], todo)
            best = max(best, part) if kind == ALT else min(best, part)
        return best
    return word(0 if kind < SET else LONG)


@jit_with_arrays
def _longest_or_push(mem: Words, e: int, todo: list[int]) -> int:
    known = recall(mem, e, LONGEST_KEY)
    if known < 0:
        todo.append(e)
        return word(0)
    return known


@jit_with_arrays
def _num_states(mem: Words, notes: Notes, start: int) -> int:
    """How many expressions come after `start`; LONG if they are more than _MAX_STATES.

    Noted for all that were met: what comes after them comes after `start`.
    """
    if has(mem, start, RECURSIVE):
        return word(LONG)
    found = [word(start)]
    notes.seat[start] = 1
    byte_of = np.empty(NUM_BYTES, np.int64)
    at = 0
    while at < len(found) <= _MAX_STATES and mem[STATUS] == OK:
        for k in range(first_bytes_of_classes(mem, found[at], byte_of)):
            left = live(mem, derivative(mem, found[at], byte_of[k]))
            if left != EMPTY and notes.seat[left] == 0:
                notes.seat[left] = 1
                found.append(left)
        at += 1
    bound = word(len(found)) if len(found) <= _MAX_STATES else word(LONG)
    for e in found:
        notes.seat[e] = 0
        if kind_of(mem, e) > LITERAL:
            remember(mem, e, REACH_KEY, bound)
    return bound


@jit_with_arrays
def _part(mem: Words, e: int, num_symbols: int, todo: list[tuple[int, int]]) -> int:
    known = _known(mem, e, num_symbols)
    if known < 0:
        todo.append((e, num_symbols))
    return known
