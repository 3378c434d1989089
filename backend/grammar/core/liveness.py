"""Exact liveness: telling languages that And and Not leave empty from those with some text.

Only these two need a search: every other expression is empty exactly when its parts make it EMPTY.
The search walks derivatives, of which a rule-free expression has finitely many, until one that
surely matches something; all that lead to it are then known to be alive, and if the search runs dry
everything it saw is dead.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.compiled import jit, jit_with_arrays
from sestina.backend.grammar.core.entries import FACTOR_DEPTH, alt, cat, derivative, partition
from sestina.backend.grammar.core.entries import live as live_part
from sestina.backend.grammar.core.intern import head_of, tail_of
from sestina.backend.grammar.core.memory import (
    ALIVE,
    ALT,
    AND,
    ASK_LIVENESS,
    ASKED,
    BOOLEAN,
    BYTE_CLASS,
    CAT,
    DEAD,
    EMPTY,
    EPOCH,
    FLAGS,
    IS_STATE,
    LIMIT_LIVENESS,
    LIMIT_STATES,
    LIVE,
    MAX_LIVENESS_STEPS,
    MAX_STATES,
    NOT,
    NULLABLE,
    NUM_BYTES,
    OK,
    POOL,
    POSITION,
    RECURSIVE,
    SEEN,
    STATES,
    STATUS,
    STEP_KEY,
    TOP,
    Words,
    has,
    kind_of,
    node,
    push,
    recall,
    remember,
    x_of,
    y_of,
)


@jit
def step(mem: Words, e: int, symbol: int) -> int:
    """The live remainder of a live expression after a symbol, EMPTY if there is none.

    What comes out is a state of the automaton, and paid for as one.
    """
    known = recall(mem, e, symbol + STEP_KEY)
    if known >= 0:
        return known
    left = live(mem, derivative(mem, e, symbol))
    if left:
        pay_for_state(mem, left)
    remember(mem, e, symbol + STEP_KEY, left)
    return left


@jit
def pay_for_state(mem: Words, e: int) -> None:
    if mem[STATUS] != OK or has(mem, e, IS_STATE):
        return
    if mem[STATES] >= mem[MAX_STATES]:
        mem[STATUS] = LIMIT_STATES
        return
    mem[STATES] += 1
    mem[node(mem, e) + FLAGS] |= IS_STATE


@jit
def live(mem: Words, e: int) -> int:
    """The same language without dead alternatives: EMPTY exactly when e matches nothing."""
    if not has(mem, e, BOOLEAN):
        return e
    known = mem[node(mem, e) + LIVE]
    if known:
        return known - 1
    kind = kind_of(mem, e)
    found = e
    if kind == CAT:
        # The tail comes from the grammar as it was built, whose parts are live already.
        found = cat(mem, live_part(mem, head_of(mem, e)), tail_of(mem, e))
    elif kind == ALT:
        start = mem[TOP]
        for k in range(y_of(mem, e)):
            push(mem, live_part(mem, mem[mem[POOL] + x_of(mem, e) + k]))
        found = alt(mem, start, FACTOR_DEPTH)
    elif kind in (AND, NOT) and _is_dead(mem, e):
        found = EMPTY
    if mem[STATUS] == OK:
        mem[node(mem, e) + LIVE] = found + 1
    return found


@jit
def _is_alive(mem: Words, e: int) -> bool:
    """Whether e is known to match something."""
    return e != EMPTY and (has(mem, e, NULLABLE | ALIVE) or not has(mem, e, BOOLEAN))


@jit
def _is_dead(mem: Words, e: int) -> bool:
    if _is_alive(mem, e):
        return False
    if not has(mem, e, DEAD):
        if has(mem, e, RECURSIVE):
            mem[ASKED] = e  # see `sestina.backend.grammar.recursion`
            mem[STATUS] = ASK_LIVENESS
            return False
        if _is_alive_at_once(mem, e):
            return False
        _search(mem, e)
    return has(mem, e, DEAD)


@jit
def _is_alive_at_once(mem: Words, e: int) -> bool:
    """Whether one symbol leads to something that is alive; most often it does."""
    count = partition(mem, e)
    for k in range(count):
        if _is_alive(mem, derivative(mem, e, _byte_of_class(mem, k))) and mem[STATUS] == OK:
            mem[node(mem, e) + FLAGS] |= ALIVE
            return True
    return False


@jit
def _byte_of_class(mem: Words, k: int) -> int:
    for b in range(NUM_BYTES):
        if mem[BYTE_CLASS + b] == k:
            return b
    return 0


@jit_with_arrays
def _search(mem: Words, start: int) -> None:
    """Decide whether `start` is dead, depth first, since one text is enough.

    edges: (from, next edge into the same expression), a linked list for each expression seen.
    """
    mem[EPOCH] += 1
    epoch = mem[EPOCH]
    seen = np.empty(64, np.int64)
    into = np.empty(64, np.int64)
    todo = np.empty(64, np.int64)
    edges = np.empty((256, 2), np.int64)
    representatives = np.empty(NUM_BYTES, np.int64)
    num_seen, num_todo, num_edges, steps = 1, 1, 0, 0
    seen[0], into[0], todo[0] = start, -1, start
    _mark_seen(mem, start, epoch, 0)
    while num_todo:
        num_todo -= 1
        e = todo[num_todo]
        steps += 1
        if steps > mem[MAX_LIVENESS_STEPS]:
            mem[STATUS] = LIMIT_LIVENESS
        count = partition(mem, e)
        for b in range(NUM_BYTES - 1, -1, -1):
            representatives[mem[BYTE_CLASS + b]] = b
        for k in range(count):
            left = derivative(mem, e, representatives[k])
            if mem[STATUS] != OK:
                return
            if left == EMPTY or has(mem, left, DEAD):
                continue
            if _is_alive(mem, left):
                _mark_alive(mem, e, seen, into, edges)
                continue
            at = mem[node(mem, left) + POSITION]
            if mem[node(mem, left) + SEEN] != epoch:
                at = num_seen
                if num_seen == len(seen):
                    seen, into, todo = _longer(seen), _longer(into), _longer(todo)
                seen[at], into[at], todo[num_todo] = left, -1, left
                num_seen += 1
                num_todo += 1
                _mark_seen(mem, left, epoch, at)
            if num_edges == len(edges):
                edges = np.concatenate((edges, np.empty_like(edges)))
            edges[num_edges, 0], edges[num_edges, 1] = e, into[at]
            into[at] = num_edges
            num_edges += 1
        if has(mem, start, ALIVE):
            return
    for at in range(num_seen):
        if not has(mem, seen[at], ALIVE):
            mem[node(mem, seen[at]) + FLAGS] |= DEAD


@jit
def _mark_seen(mem: Words, e: int, epoch: int, at: int) -> None:
    mem[node(mem, e) + SEEN] = epoch
    mem[node(mem, e) + POSITION] = at


@jit_with_arrays
def _longer(old: Words) -> Words:
    return np.concatenate((old, np.empty_like(old)))


@jit_with_arrays
def _mark_alive(mem: Words, e: int, seen: Words, into: Words, edges: Words) -> None:
    """e leads to something alive, and so does all that leads to e."""
    if has(mem, e, ALIVE):
        return
    mem[node(mem, e) + FLAGS] |= ALIVE
    todo = [mem[node(mem, e) + POSITION]]
    while len(todo):
        edge = into[todo.pop()]
        while edge >= 0:
            before = edges[edge, 0]
            if not has(mem, before, ALIVE):
                mem[node(mem, before) + FLAGS] |= ALIVE
                todo.append(mem[node(mem, before) + POSITION])
            edge = edges[edge, 1]
