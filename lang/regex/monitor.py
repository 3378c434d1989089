"""Which looks hold at a place, from the text on one side of it: a deterministic automaton.

A look behind holds where some match of its body ends. A `Monitor` reads a text from its beginning,
and its state says which looks hold at the place it has come to: for each body it keeps the set of
states of a nondeterministic automaton that begins anew at every place (Thompson 1968), and bodies
may contain looks of the same direction, which are answered first. Looks ahead are the same for a
text that is read from its end, and bodies likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from sestina.lang.grammar_ir import MAX_CODE_POINT, Ranges, normalise
from sestina.lang.regex.classes import intersect
from sestina.lang.regex.nodes import Char, Look, Loop, Node, Or, Seq

MAX_STATES = 64
MAX_STEPS = 20_000
MAX_CELLS = 1_000_000


class TooManyStates(Exception):
    """More states than MAX_STATES, more work than MAX_STEPS, or larger tables than MAX_CELLS."""


class OtherDirection(Exception):
    """A look at the other side is inside a body; `args[0]` is that look."""


class Scan(NamedTuple):
    """A look to be watched, in one reading; the body of a negative one has the other."""

    look: Look
    is_maybe: bool


def looks(node: Node, is_maybe: bool, *, is_ahead: bool) -> list[Scan]:
    """The looks of one direction, but for those that are inside others of the same direction."""
    found: dict[Scan, None] = {}
    todo: list[tuple[Node, bool]] = [(node, is_maybe)]
    while todo:
        node, is_maybe = todo.pop()
        match node:
            case Look(body, node_is_ahead, is_negative):
                if node_is_ahead is is_ahead:
                    found[Scan(node, is_maybe)] = None
                elif node_is_ahead:
                    todo.append((body, is_maybe is not is_negative))
            case Seq(items) | Or(items) if node.has_look:
                todo += ((item, is_maybe) for item in items)
            case Loop(item) if node.has_look:
                todo.append((item, is_maybe))
    return list(found)


@dataclass(frozen=True, slots=True)
class Monitor:
    """State 0 is at the beginning. step[state][i] is the state behind a character of classes[i].

    holds[state] are the looks (as indices into `scans`) that hold, their negation counted in.
    """

    scans: tuple[Scan, ...]
    classes: tuple[Ranges, ...]
    step: tuple[tuple[int, ...], ...]
    holds: tuple[frozenset[int], ...]


TRIVIAL = Monitor((), (normalise([(0, MAX_CODE_POINT)]),), ((0,),), (frozenset(),))


def monitor(scans: Sequence[Scan]) -> Monitor:
    """The automaton for these looks, and those inside them; minimal.

    Raises TooManyStates and OtherDirection.
    """
    if not scans:
        return TRIVIAL
    threads = _Threads()
    wanted = [threads.watch(scan) for scan in scans]
    classes = _classes([ranges for arcs in threads.arcs for ranges, _ in arcs])
    step, places = _explore(threads, classes)
    holds = [
        frozenset(
            i
            for i, (scan, k) in enumerate(zip(scans, wanted, strict=True))
            if (threads.ends[k][1] in here[k]) is not scan.look.is_negative
        )
        for here in places
    ]
    return Monitor(tuple(scans), tuple(classes), *_minimal(step, holds))


@dataclass(slots=True)
class _Threads:
    """Nondeterministic automata, one for each look; inner looks come before outer ones.

    arcs: per state, by characters. jumps: per state, without; with the look that must hold there
    (its index, and whether it must), if any.
    """

    arcs: list[list[tuple[Ranges, int]]] = field(default_factory=list)
    jumps: list[list[tuple[int, tuple[int, bool] | None]]] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)
    known: dict[tuple[int, bool], int] = field(default_factory=dict)
    is_ahead: bool | None = None

    def watch(self, scan: Scan) -> int:
        """The index of the automaton for a look's body."""
        if self.is_ahead not in (None, scan.look.is_ahead):
            raise OtherDirection(scan.look)
        self.is_ahead = scan.look.is_ahead
        reading = scan.is_maybe is not scan.look.is_negative
        key = (id(scan.look.body), reading)
        if key not in self.known:
            start = self._state()
            end = self._add(scan.look.body, start, reading)
            self.ends.append((start, end))
            self.known[key] = len(self.ends) - 1
        return self.known[key]

    def _state(self) -> int:
        if len(self.arcs) >= MAX_STEPS:
            raise TooManyStates
        self.arcs.append([])
        self.jumps.append([])
        return len(self.arcs) - 1

    def _add(self, node: Node, start: int, is_maybe: bool) -> int:
        """States and arcs for `node` behind `start`; returns where its matches end."""
        match node:
            case Char(chars):
                end = self._state()
                self.arcs[start].append((chars.maybe if is_maybe else chars.sure, end))
                return end
            case Seq(items):
                for item in reversed(items) if self.is_ahead else items:
                    start = self._add(item, start, is_maybe)
                return start
            case Or(items):
                end = self._state()
                for item in items:
                    self.jumps[self._add(item, self._fork(start), is_maybe)].append((end, None))
                return end
            case Loop(item, lo, hi):
                return self._loop(item, lo, hi, start, is_maybe)
            case Look(_, _, is_negative):
                index = self.watch(Scan(node, is_maybe))
                end = self._state()
                self.jumps[start].append((end, (index, not is_negative)))
                return end

    def _fork(self, start: int) -> int:
        fresh = self._state()
        self.jumps[start].append((fresh, None))
        return fresh

    def _loop(self, item: Node, lo: int, hi: int | None, start: int, is_maybe: bool) -> int:
        for _ in range(lo):
            start = self._add(item, start, is_maybe)
        if hi is None:
            again = self._fork(start)
            self.jumps[self._add(item, again, is_maybe)].append((again, None))
            return self._fork(again)
        end = self._state()
        self.jumps[start].append((end, None))
        for _ in range(hi - lo):
            start = self._add(item, self._fork(start), is_maybe)
            self.jumps[start].append((end, None))
        return end


_Places = tuple[frozenset[int], ...]


def _explore(threads: _Threads, classes: Sequence[Ranges]) -> tuple[list[list[int]], list[_Places]]:
    """All states that can be reached, by breadth."""
    if len(classes) * len(threads.arcs) > MAX_CELLS:
        raise TooManyStates
    moves = [_moves(threads, chars) for chars in classes]
    places = [_closed(threads, [set() for _ in threads.ends])]
    index = {places[0]: 0}
    step: list[list[int]] = []
    work = 0
    for here in places:
        row: list[int] = []
        for move in moves:
            work += 1 + sum(map(len, here))
            there = _closed(threads, [{t for s in part for t in move[s]} for part in here])
            if there not in index:
                index[there] = len(places)
                places.append(there)
            row.append(index[there])
            if work > MAX_STEPS or len(places) > 4 * MAX_STATES:
                raise TooManyStates
        step.append(row)
    return step, places


def _moves(threads: _Threads, chars: Ranges) -> list[list[int]]:
    """Per state, where the characters of one class lead."""
    one = chars[:1]
    return [[t for ranges, t in arcs if intersect(ranges, one)] for arcs in threads.arcs]


def _closed(threads: _Threads, places: list[set[int]]) -> _Places:
    """With what is reached without a character; each automaton begins here too."""
    holds: list[bool] = []
    for found, (start, end) in zip(places, threads.ends, strict=True):
        found.add(start)
        todo = list(found)
        while todo:
            for there, guard in threads.jumps[todo.pop()]:
                if there not in found and (guard is None or holds[guard[0]] is guard[1]):
                    found.add(there)
                    todo.append(there)
        holds.append(end in found)
    return tuple(map(frozenset, places))


def _classes(sets: Sequence[Ranges]) -> list[Ranges]:
    """All characters, by the sets that they are in."""
    cuts = {0, MAX_CODE_POINT + 1}
    for ranges in sets:
        for lo, hi in ranges:
            cuts |= {lo, hi + 1}
    distinct = tuple(dict.fromkeys(sets))
    edges = sorted(cuts)
    if len(edges) * len(distinct) > MAX_CELLS:
        raise TooManyStates
    found: dict[tuple[bool, ...], list[tuple[int, int]]] = {}
    active = [iter(ranges) for ranges in distinct]
    current = [next(ranges, None) for ranges in active]
    for lo, end in pairwise(edges):
        for i, each in enumerate(current):
            if each is not None and each[1] < lo:
                current[i] = next(active[i], None)
        key = tuple(each is not None and each[0] <= lo for each in current)
        found.setdefault(key, []).append((lo, end - 1))
    return [ranges for each in found.values() if (ranges := normalise(each))]


def _minimal(
    step: Sequence[Sequence[int]], holds: Sequence[frozenset[int]]
) -> tuple[tuple[tuple[int, ...], ...], tuple[frozenset[int], ...]]:
    """States that no text tells apart become one (Moore 1956); the first stays the first."""
    names: dict[object, int] = {}
    part = [names.setdefault(held, len(names)) for held in holds]
    while True:
        finer: dict[object, int] = {}
        split = [
            finer.setdefault((part[s], *(part[t] for t in row)), len(finer))
            for s, row in enumerate(step)
        ]
        if len(finer) == len(set(part)):
            break
        part = split
    if len(set(part)) > MAX_STATES:
        raise TooManyStates
    first = {p: s for s, p in reversed(list(enumerate(part)))}
    order = sorted(first)
    return (
        tuple(tuple(part[t] for t in step[first[p]]) for p in order),
        tuple(holds[first[p]] for p in order),
    )
