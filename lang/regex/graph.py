"""The places of a text as a graph: which looks hold at a place, and how characters lead on.

A label of a place is the state of one monitor that has read what is before it, with the state of
another that has read what is after it, from the end; so it answers looks of both directions. Every
place of a text has exactly one label. A character leads from the label before it to the one behind
it; several may follow where the second monitor has states, since what comes is not known yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sestina.lang.expr import either, seq
from sestina.lang.grammar_ir import NOTHING, Expr, Ranges, normalise
from sestina.lang.regex.classes import Spell, intersect
from sestina.lang.regex.matrix import Matrix, Spend, closure
from sestina.lang.regex.monitor import Monitor, Scan


class Labels(NamedTuple):
    """Label (f, b) is number f * num_after + b. edges[i, j] are the characters from i to j."""

    size: int
    num_after: int
    edges: Mapping[tuple[int, int], Ranges]
    holds: tuple[frozenset[Scan], ...]


def labels(before: Monitor, after: Monitor, spend: Spend) -> Labels:
    """The labels of two monitors. Cost: the product of their transitions, paid for by `spend`."""
    num = len(after.step)
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for c, chars in enumerate(before.classes):
        for d, others in enumerate(after.classes):
            shared = intersect(chars, others)
            spend(len(before.step) * num if shared else 1)
            for f, row in enumerate(before.step if shared else ()):
                for b, back in enumerate(after.step):
                    edge = (f * num + back[d], row[c] * num + b)
                    found.setdefault(edge, []).extend(shared)
    held = tuple(f | b for f in _scans(before) for b in _scans(after))
    edges = {edge: normalise(ranges) for edge, ranges in found.items()}
    return Labels(len(before.step) * num, num, edges, held)


def _scans(monitor: Monitor) -> list[frozenset[Scan]]:
    return [frozenset(monitor.scans[i] for i in held) for held in monitor.holds]


class Paths:
    """The texts that lead from one label to others, as expressions that are made once."""

    def __init__(self, found: Labels, spell: Spell, universe: Expr, spend: Spend) -> None:
        self.labels = found
        self._universe = universe
        self._spend = spend
        self.steps: Matrix = {edge: spell(chars) for edge, chars in found.edges.items()}
        self.rows: list[dict[int, Ranges]] = [{} for _ in range(found.size)]
        for (i, j), chars in found.edges.items():
            self.rows[i][j] = chars
        self._closure: Matrix | None = None
        self._some: dict[tuple[tuple[tuple[int, Ranges], ...], frozenset[int]], Expr] = {}

    def some(self, label: int, group: frozenset[int]) -> Expr:
        """The texts of at least one character that lead from `label` into `group`.

        Labels from which the same characters lead to the same labels share the answer.
        """
        key = (tuple(self.rows[label].items()), group)
        if key not in self._some:
            self._some[key] = either(
                seq(self.steps[label, there], self.any_to(there, group))
                for there in self.rows[label]
            )
        return self._some[key]

    def any_to(self, label: int, group: frozenset[int]) -> Expr:
        """The texts that lead from `label` into `group`, the empty one too if it is in it."""
        if self.labels.size == 1:
            return self._universe
        if self._closure is None:
            self._closure = closure(self.steps, self.labels.size, self._spend)
        return either(self._closure.get((label, there), NOTHING) for there in sorted(group))
