"""The canonical ending of what And and Not leave: a search over derivatives (A*).

MIN_LEN is at most the true length there, so expressions are looked at in the order of the symbols
before them plus MIN_LEN (Hart, Nilsson and Raphael 1968). The search goes on until all that could
be on a shortest text was looked at; then the lowest byte that stays on one is taken at each step.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core.compiled import jit_with_arrays, word
from sestina.backend.grammar.core.ending_words import (
    LIMIT_ENDING,
    MAX_ENDING,
    WANTED,
    Notes,
    choose,
    is_searched,
    keep_word,
    known_length,
    write,
)
from sestina.backend.grammar.core.entries import derivative, live, partition
from sestina.backend.grammar.core.memory import (
    BYTE_CLASS,
    EMPTY,
    EXPRESSIONS,
    LONG,
    NUM_BYTES,
    OK,
    STATUS,
    Int32s,
    Words,
    min_len_of,
)

_MAX_STEPS = 20_000
_MAX_NEW_EXPRESSIONS = 50_000


@jit_with_arrays
def search(mem: Words, notes: Notes, start: int) -> None:
    """Note the length and the ending of `start` and of the expressions that it leads through.

    Without a text of less than MAX_ENDING symbols the length is LONG. Giving up
    (LIMIT_ENDING) leaves the notes as they were.
    """
    found = [word(start)]
    _explore(mem, notes, start, found)
    for e in found:
        notes.seat[e] = 0


@jit_with_arrays
def _explore(mem: Words, notes: Notes, start: int, found: list[int]) -> None:
    """Number what is found (its seat is 1 + its number) and note what comes of it.

    Entries (number, symbols before it, next of its bucket) wait in a bucket for each sum.
    """
    before = [0]  # symbols, by number
    edges = [(0, 0)]  # (from, to), numbers
    to_go = [word(LONG)]  # symbols to an ending by way of something already known
    notes.seat[start] = 1
    entries = [(0, 0, -1)]
    buckets = [0]
    lowest, base, best, steps = 0, min_len_of(mem, start), word(MAX_ENDING), 0
    byte_of = np.empty(NUM_BYTES, np.int64)
    most = mem[EXPRESSIONS] + _MAX_NEW_EXPRESSIONS
    while lowest < len(buckets) and lowest + base <= best:
        if buckets[lowest] < 0:
            lowest += 1
            continue
        number, depth, buckets[lowest] = entries[buckets[lowest]]
        if before[number] < depth:
            continue  # a shorter way was found since
        steps += 1
        if steps > _MAX_STEPS or mem[EXPRESSIONS] > most:
            mem[STATUS] = LIMIT_ENDING
        count = first_bytes_of_classes(mem, found[number], byte_of)
        for k in range(count):
            left = live(mem, derivative(mem, found[number], byte_of[k]))
            if mem[STATUS] != OK:
                return
            if left == EMPTY:
                continue
            rest = known_length(mem, notes, left)
            if rest >= 0:
                to_go[number] = min(to_go[number], rest + 1)
                best = min(best, depth + to_go[number])
                continue
            seat = word(notes.seat[left])
            if seat == 0:
                found.append(left)
                before.append(depth + 2)
                to_go.append(word(LONG))
                seat = notes.seat[left] = len(found)
            edges.append((number, seat - 1))
            if depth + 1 < before[seat - 1]:
                before[seat - 1] = depth + 1
                at = max(lowest, depth + 1 + min_len_of(mem, left) - base)
                while len(buckets) <= at and at + base <= best:
                    buckets.append(-1)
                if at < len(buckets):
                    entries.append((seat - 1, depth + 1, buckets[at]))
                    buckets[at] = len(entries) - 1
    if best >= MAX_ENDING:
        notes.length[start] = 1 + LONG
        return
    _spread(edges, before, to_go)
    _note_path(mem, notes, found, to_go)


@jit_with_arrays
def first_bytes_of_classes(mem: Words, e: int, byte_of: Words) -> int:
    """The lowest byte of each class of `partition`, in ascending order; returns how many."""
    num_classes = partition(mem, e)
    seen = np.zeros(num_classes, np.bool_)
    count = 0
    for b in range(NUM_BYTES):
        k = mem[BYTE_CLASS + b]
        if not seen[k]:
            seen[k] = True
            byte_of[count] = b
            count += 1
    return count


@jit_with_arrays
def _spread(edges: list[tuple[int, int]], before: list[int], to_go: list[int]) -> None:
    """to_go along all ways, exact on the shortest: there, each edge leads one symbol further, so
    that those from far on are done first."""
    depths = np.empty(len(edges), np.int64)
    for k in range(len(edges)):
        depths[k] = -before[edges[k][0]]
    for k in np.argsort(depths, kind="mergesort"):
        tail, head = edges[k]
        to_go[tail] = min(to_go[tail], to_go[head] + 1)


@jit_with_arrays
def _note_path(mem: Words, notes: Notes, found: list[int], to_go: list[int]) -> None:
    """Follow the lowest bytes of shortest texts, and note what they spell."""
    length = to_go[0]
    symbols = np.empty(length, np.int32)
    byte_of = np.empty(NUM_BYTES, np.int64)
    path = [found[0]]
    for at in range(length):
        e = path[-1]
        count = first_bytes_of_classes(mem, e, byte_of)
        for k in range(count):
            left = live(mem, derivative(mem, e, byte_of[k]))
            if mem[STATUS] != OK:
                return
            if left == EMPTY:
                continue
            rest = known_length(mem, notes, left)
            if rest < 0:
                rest = to_go[notes.seat[left] - 1] if notes.seat[left] else word(LONG)
            if rest == length - at - 1:
                symbols[at] = byte_of[k]
                path.append(left)
                break
        if known_length(mem, notes, path[-1]) >= 0:
            choose(mem, notes, path[-1])
            if mem[STATUS] != OK or notes.words[WANTED]:
                return
            write(mem, notes, path[-1], symbols[at + 1 :])
            break
    _note_word(mem, notes, path, symbols)


@jit_with_arrays
def _note_word(mem: Words, notes: Notes, path: list[int], symbols: Int32s) -> None:
    first = keep_word(mem, notes, symbols)
    if first == 0 or mem[STATUS] != OK:
        return
    for at in range(len(path)):
        e = path[at]
        if is_searched(mem, e) and notes.choice[e] == 0:
            notes.choice[e] = first + at
            notes.length[e] = 1 + len(symbols) - at
