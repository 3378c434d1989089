"""Ignored text: what may stand before, between and after the terminals of a Lark grammar.

Lark takes the longest match of an ignored terminal, so a comment cannot stop early for the rest of
its line to be read as program text. A run of ignored texts is therefore a walk through kinds, where
a kind is a set of terminals with the same `extension`, the bytes that would make a match longer:
what comes after a text of the kind, another kind or a terminal, must not begin with one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sestina.lang import grammar_ir as ir
from sestina.lang.expr import either, is_nothing, seq, times

MAX_KINDS = 6

FirstBytes = Callable[[ir.Expr], int]

_ANY_BYTES = times(ir.ByteSet((1 << 256) - 1), 0, None)


class IgnoredRuns:
    """The runs of ignored texts, by the kind of their last text.

    kinds: the ignored language for each extension; none of them has the empty text. first_bytes:
    see `extension`. Cost: up to 3 ** len(kinds) nodes, of which there are at most MAX_KINDS.
    """

    def __init__(self, kinds: Mapping[int, ir.Expr], first_bytes: FirstBytes) -> None:
        self._first_bytes = first_bytes
        self._runs = self._solve(kinds)

    def before(self, terminal: ir.Expr) -> ir.Expr:
        """A run and then the terminal."""
        by_rest: dict[ir.Expr, list[ir.Expr]] = {terminal: [ir.EPSILON]}
        for kind, run in self._runs.items():
            by_rest.setdefault(self._not_beginning(terminal, kind), []).append(run)
        return either(seq(either(runs), rest) for rest, runs in by_rest.items())

    def at_end(self) -> ir.Expr:
        """A run that ends the text."""
        return either([ir.EPSILON, *self._runs.values()])

    def _solve(self, kinds: Mapping[int, ir.Expr]) -> dict[int, ir.Expr]:
        """R_i = C_i | R_1 c_1i | R_2 c_2i ..., where c_ki is C_i after kind k (Arden 1961)."""
        order = list(kinds)
        constant = dict(kinds)
        factor = {i: {k: self._not_beginning(kinds[i], k) for k in order} for i in order}
        for at, i in enumerate(order):
            loop = times(factor[i].pop(i), 0, None)
            constant[i] = seq(constant[i], loop)
            factor[i] = {k: seq(each, loop) for k, each in factor[i].items()}
            for j in order[at + 1 :]:
                _put_in(j, i, constant, factor)
        for at in range(len(order) - 1, -1, -1):
            for j in order[:at]:
                _put_in(j, order[at], constant, factor)
        return constant

    def _not_beginning(self, expr: ir.Expr, mask: int) -> ir.Expr:
        """The texts of a language that do not begin with a byte of the mask."""
        first = self._first_bytes(expr)
        if not first & mask:
            return expr
        if not first & ~mask:
            return ir.NOTHING
        return ir.And((expr, ir.Not(seq(ir.ByteSet(mask), _ANY_BYTES))))


def _put_in(
    j: int, i: int, constant: dict[int, ir.Expr], factor: dict[int, dict[int, ir.Expr]]
) -> None:
    """Replace R_i by its right side in the equation of R_j."""
    through = factor[j].pop(i)
    if is_nothing(through):
        return
    constant[j] = either([constant[j], seq(constant[i], through)])
    for k, each in factor[i].items():
        factor[j][k] = either([factor[j].get(k, ir.NOTHING), seq(each, through)])


def kinds_of(ignored: Sequence[tuple[int, ir.Expr]]) -> dict[int, ir.Expr]:
    """The ignored languages by their extensions."""
    found: dict[int, list[ir.Expr]] = {}
    for mask, expr in ignored:
        found.setdefault(mask, []).append(expr)
    return {mask: either(exprs) for mask, exprs in found.items()}
