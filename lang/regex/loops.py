"""Loops with looks inside: the closure of a matrix over the labels of `graph`.

Within the loop looks of both directions are answered by the label of their place, so that a look is
the part of the identity where it holds, and everything else is sums, products and closures. Behind
the loop, what follows must be a text of which its label speaks; looks there are not touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sestina.lang.expr import either, seq, times
from sestina.lang.grammar_ir import ANY_CHAR, EPSILON, Expr
from sestina.lang.regex.classes import intersect
from sestina.lang.regex.graph import Paths
from sestina.lang.regex.matrix import Matrix, closure, identity, power, product, total
from sestina.lang.regex.monitor import TRIVIAL, Scan, looks
from sestina.lang.regex.nodes import Char, Look, Loop, Node, Or, Seq, fixed_width

if TYPE_CHECKING:
    from sestina.lang.regex.lowering import After, Lowering

MAX_SQUARED = 3


def lower(lowering: Lowering, node: Loop, after: After, is_maybe: bool) -> After:
    """What a loop with looks in it matches before `after`; see `lowering`."""
    ahead = lowering.watch(looks(node, is_maybe, is_ahead=True))
    ends = lowering.paths_of(TRIVIAL, ahead)
    num = ends.labels.num_after
    to_end = [ends.any_to(b, frozenset([0])) for b in range(num)]
    follow = [lowering.sets.both(k, rest) for k in after for rest in to_end]
    places = _Places(lowering, lowering.paths_of(lowering.behind, ahead))
    parts: list[list[Expr]] = [[] for _ in after]
    for (i, j), expr in places.matrix(node, is_maybe).items():
        parts[i // num].append(seq(expr, follow[j]))
    return tuple(map(either, parts))


class _Places:
    """The matrices of a loop's parts."""

    def __init__(self, lowering: Lowering, paths: Paths) -> None:
        self._lowering = lowering
        self._paths = paths
        self._size = paths.labels.size

    def matrix(self, node: Node, is_maybe: bool) -> Matrix:
        """Entry (i, j): what `node` matches from a place labelled i to one labelled j."""
        spend = self._lowering.spend
        match node:
            case Char(chars):
                wanted = chars.maybe if is_maybe else chars.sure
                edges = self._paths.labels.edges.items()
                shared = {edge: intersect(wanted, ranges) for edge, ranges in edges}
                return {edge: self._lowering.spell(c) for edge, c in shared.items() if c}
            case Look():
                scan = Scan(node, is_maybe)
                held = enumerate(self._paths.labels.holds)
                return {(i, i): EPSILON for i, scans in held if scan in scans}
            case Seq(items):
                found = identity(self._size)
                for item in items:
                    found = product(found, self.matrix(item, is_maybe), spend)
                return found
            case Or(items):
                return total(self.matrix(item, is_maybe) for item in items)
            case Loop():
                return self._loop(node, is_maybe)

    def _loop(self, node: Loop, is_maybe: bool) -> Matrix:
        """By closure; counts by what is counted: an intersection, where that says it exactly."""
        lo, hi, spend = node.lo, node.hi, self._lowering.spend
        if not node.has_look and max(lo, hi or 0) > MAX_SQUARED:
            return self._cut(self._lowering.plain(node, is_maybe))
        item = self.matrix(node.item, is_maybe)
        width = fixed_width(node.item)
        if width == 0:
            return item if lo else identity(self._size)
        if width is None or max(lo, hi or 0) <= MAX_SQUARED:
            return power(item, self._size, lo, hi, spend)
        any_char = self._lowering.spell(ANY_CHAR)
        length = times(any_char, lo * width, None if hi is None else hi * width)
        closed = closure(item, self._size, spend)
        spend(len(closed))
        both = self._lowering.sets.both
        return {place: both(expr, length) for place, expr in closed.items()}

    def _cut(self, expr: Expr) -> Matrix:
        """A plain language by where its texts lead from where."""
        sets = self._lowering.sets
        self._lowering.spend(self._size**2)
        found = {
            (i, j): sets.both(expr, self._paths.some(i, frozenset([j])))
            for i in range(self._size)
            for j in range(self._size)
        }
        return total([found, identity(self._size)]) if sets.nullable(expr) else found
