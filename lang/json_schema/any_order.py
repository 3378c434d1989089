"""Parts in any order, each at most once: properties in any order, arrays of distinct constants.

`Permute` says it in one node, for an automaton to follow lazily. Until the engine does, `expanded`
writes it out: a node for each set of parts that can have been seen, with a branch for each part
that may come next. The branches of a schema are limited: 12 properties make some 30,000.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.expr import either, is_nothing, maybe, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, Concat, Expr, Part, Permute

MAX_BRANCHES = 150_000


@dataclass(slots=True)
class Fuel:
    """How many more branches one schema may take, here and where parts are counted."""

    left: int = MAX_BRANCHES

    def burn(self, count: int, keyword: str) -> None:
        """Take some; raises ConstraintLimitExceeded, naming the keyword that is too large."""
        self.left -= count
        if self.left < 0:
            raise ConstraintLimitExceeded(
                f"sets and counts of parts, with more than {MAX_BRANCHES} branches", keyword=keyword
            )


def any_order(
    parts: Iterable[Part],
    separator: Expr,
    fuel: Fuel,
    lo: int = 0,
    hi: int | None = None,
    keyword: str = "properties",
) -> Expr:
    """What `Permute` describes; NOTHING if there is no such text. For the errors see `Fuel`."""
    live: list[Part] = []
    for part in parts:
        if not is_nothing(part.item):
            live.append(part)
        elif part.required:
            return NOTHING
    if len(live) == 1 and lo <= 1 and hi != 0:
        return _one_part(live[0], separator, lo, hi)
    node = Permute(tuple(live), separator, lo, hi)
    if not _Sets(node).can_end(0, 0):
        return NOTHING
    return node


def expanded(node: Permute, fuel: Fuel, keyword: str) -> Expr:
    """The same language in Concat, Alt and Repeat. Cost and size: parts x sets of parts."""
    sets = _Sets(node)
    after: dict[tuple[int, int], Expr] = {}
    pairs = [seq(node.separator, part.item) for part in node.parts]
    for seen, occurred in reversed(sets.reachable(fuel, keyword)):
        items = [part.item for part in node.parts] if not occurred else pairs
        found: list[Expr] = [EPSILON] if sets.may_end(seen) else []
        again: list[Expr] = []
        for i, following in sets.steps(seen, occurred):
            if following == (seen, occurred):
                again.append(items[i])
            else:
                found.append(_then(items[i], after[following]))
        after[seen, occurred] = _then(times(either(again), 0, None), either(found))
    return after[0, 0]


def _then(first: Expr, rest: Expr) -> Expr:
    """One after the other; `rest`, which others share, stays as it is."""
    if first == EPSILON or rest == EPSILON:
        return rest if first == EPSILON else first
    return Concat((first, rest))


def _one_part(part: Part, separator: Expr, lo: int, hi: int | None) -> Expr:
    most = hi if part.repeats else 1
    more = times(seq(separator, part.item), 0, None if most is None else most - 1)
    text = seq(part.item, more)
    return text if part.required or lo else maybe(text)


class _Sets:
    """The sets of parts (bit i: part i was seen) that a text can lead through.

    Beside a set goes how many parts occurred, as far as it matters: 0 at the beginning, else 1
    unless `hi` bounds parts that repeat.
    """

    def __init__(self, node: Permute) -> None:
        self.node = node
        self.repeats = any(part.repeats for part in node.parts)
        self.size = len(node.parts)
        self.is_counting = node.hi is not None and (self.repeats or node.hi < self.size)
        self.required = self.bits(part.required for part in node.parts)
        self.free = self.bits(p.repeats and not p.required for p in node.parts)

    def bits(self, chosen: Iterable[bool]) -> int:
        return sum(1 << i for i, is_chosen in enumerate(chosen) if is_chosen)

    def missing(self, seen: int) -> int:
        """How many more parts are needed."""
        return max((self.required & ~seen).bit_count(), self.node.lo - seen.bit_count())

    def may_end(self, seen: int) -> bool:
        return self.missing(seen) <= 0

    def can_end(self, seen: int, occurred: int) -> bool:
        """Whether enough parts can still come."""
        missing = self.missing(seen)
        if self.node.hi is not None and missing > self.node.hi - occurred:
            return False
        return missing <= self.size - seen.bit_count()

    def joined(self, seen: int, i: int) -> int:
        """A set and one more part; with enough of them it does not matter which may repeat."""
        seen |= 1 << i
        return seen | self.free if seen.bit_count() >= self.node.lo else seen

    def steps(self, seen: int, occurred: int) -> list[tuple[int, tuple[int, int]]]:
        """Which part may come next, and what it leads to."""
        count = occurred + 1 if self.is_counting else 1
        found = []
        for i, part in enumerate(self.node.parts):
            following = (self.joined(seen, i), count)
            if (part.repeats or not seen >> i & 1) and self.can_end(*following):
                found.append((i, following))
        return found

    def reachable(self, fuel: Fuel, keyword: str) -> list[tuple[int, int]]:
        """All of them, such that each leads only to itself and later ones."""
        found = {(0, 0): None}
        todo = [(0, 0)]
        for one in todo:  # grows while it is walked
            steps = self.steps(*one)
            fuel.burn(len(steps), keyword)
            for _, following in steps:
                if following not in found:
                    found[following] = None
                    todo.append(following)
        return sorted(found, key=lambda key: (key[1], key[0].bit_count()))
