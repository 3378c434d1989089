"""Extra properties among which several rules have to be broken, in any order.

A state is the set of rules that are broken so far; one property may break several. As a later key
may spell the same name again, and its value would be the one that counts, a property after the one
that broke a rule either has a name that the rule is not about, or breaks it again. What is lost:
two properties of which each keeps the rule that the other breaks, and both names are of both rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.expr import either, is_nothing, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, And, Expr, Not
from sestina.lang.json_schema.fuel import Fuel

MAX_BREACHES = 5
MAX_ROOM = 100  # as many levels has the expression


class Breach(NamedTuple):
    """The names that a rule is about, and the schema of a value that breaks it (True: any does)."""

    keys: Expr
    value: Any


Write = Callable[[Expr, frozenset[int]], Expr]
"""The extra properties with names of a language whose values break these rules."""


class Breaching:
    """Cost: the states times the sets of rules that a name is about, 4^n for n rules."""

    def __init__(self, breaches: Sequence[Breach], write: Write, comma: Expr, fuel: Fuel) -> None:
        self.breaches = breaches
        self.write = write
        self.comma = comma
        self.fuel = fuel
        self.every = frozenset(range(len(breaches)))
        self.keys = {about: self.names(about) for about in _subsets(self.every)}
        self.written: dict[tuple[frozenset[int], frozenset[int]], Expr] = {}
        self.steps = {broken: self.steps_from(broken) for broken in self.keys}

    def names(self, about: frozenset[int]) -> Expr:
        """The names that exactly these rules are about."""
        inside = [self.breaches[i].keys for i in sorted(about)]
        outside = [self.breaches[i].keys for i in sorted(self.every - about)]
        if any(map(is_nothing, inside)):
            return NOTHING
        parts = (*inside, *([Not(either(outside))] if outside else ()))
        return parts[0] if len(parts) == 1 else And(parts)

    def lower(self, room: int | None) -> Expr:
        """At most `room` properties that break all rules, separated by commas."""
        if room is None:
            after: dict[frozenset[int], Expr] = {}
            for broken in sorted(self.steps, key=len, reverse=True):
                following = after
                after[broken] = self.further(broken, after)
        else:
            following = after = {self.every: EPSILON}
            if room > MAX_ROOM:
                raise ConstraintLimitExceeded("too many properties to count", keyword="not")
            for _ in range(room):
                following = after
                after = {broken: self.counted(broken, following) for broken in self.steps}
        return self.first(frozenset(), following, is_counted=room is not None)

    def first(
        self, broken: frozenset[int], following: Mapping[frozenset[int], Expr], *, is_counted: bool
    ) -> Expr:
        """What begins without a comma."""
        again = NOTHING if is_counted else self.steps[broken].get(broken, NOTHING)
        found = [
            seq(text, following[target])
            for target, text in self.steps[broken].items()
            if target in following and (is_counted or target != broken)
        ]
        return seq(times(seq(again, self.comma), 0, None), either(found))

    def further(self, broken: frozenset[int], after: Mapping[frozenset[int], Expr]) -> Expr:
        """What may follow once these are broken."""
        again = self.steps[broken].get(broken, NOTHING)
        found: list[Expr] = [EPSILON] if broken == self.every else []
        found += [
            seq(self.comma, text, after[target])
            for target, text in self.steps[broken].items()
            if target != broken
        ]
        return seq(times(seq(self.comma, again), 0, None), either(found))

    def counted(self, broken: frozenset[int], following: Mapping[frozenset[int], Expr]) -> Expr:
        """Likewise, where one less may follow after each."""
        self.fuel.burn(len(self.steps[broken]), "not")
        found: list[Expr] = [EPSILON] if broken == self.every else []
        found += [
            seq(self.comma, text, following[target])
            for target, text in self.steps[broken].items()
            if target in following
        ]
        return either(found)

    def steps_from(self, broken: frozenset[int]) -> dict[frozenset[int], Expr]:
        """What is broken with one more property, and how it is written."""
        found: dict[frozenset[int], list[Expr]] = {}
        for about, keys in self.keys.items():
            if is_nothing(keys):
                continue
            by_name = frozenset(i for i in about if self.breaches[i].value is True)
            again = (about & broken) - by_name
            for more in _subsets(about - broken - by_name):
                self.fuel.burn(1, "not")
                text = self.text(about, again | more)
                if not is_nothing(text):
                    found.setdefault(broken | by_name | more, []).append(text)
        return {target: either(texts) for target, texts in found.items()}

    def text(self, about: frozenset[int], breaking: frozenset[int]) -> Expr:
        key = about, breaking
        if key not in self.written:
            self.written[key] = self.write(self.keys[about], breaking)
        return self.written[key]


def _subsets(items: frozenset[int]) -> Iterable[frozenset[int]]:
    ordered = sorted(items)
    return [frozenset(some) for n in range(len(ordered) + 1) for some in combinations(ordered, n)]
