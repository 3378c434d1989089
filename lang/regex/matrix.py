"""Square matrices of languages: how a text leads from one state of an automaton to another.

Entry (i, j) is the language of the texts that lead from i to j; what is not there is empty. Sums
are unions, products are concatenations, and the closure is Kleene's (1956): the elimination of one
state after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sestina.lang.expr import either, seq, times
from sestina.lang.grammar_ir import EPSILON, Expr

Matrix = Mapping[tuple[int, int], Expr]
Spend = Callable[[int], None]
"""Called with the number of products that are about to be formed; raises when it is too much."""


def identity(size: int) -> Matrix:
    return {(i, i): EPSILON for i in range(size)}


def total(parts: Iterable[Matrix]) -> Matrix:
    """The entries of all of them together."""
    found: dict[tuple[int, int], list[Expr]] = {}
    for part in parts:
        for place, expr in part.items():
            found.setdefault(place, []).append(expr)
    return {place: either(exprs) for place, exprs in found.items()}


def product(a: Matrix, b: Matrix, spend: Spend) -> Matrix:
    """First a text of `a`, then one of `b`."""
    rows: dict[int, list[tuple[int, Expr]]] = {}
    for (i, j), expr in b.items():
        rows.setdefault(i, []).append((j, expr))
    found: dict[tuple[int, int], list[Expr]] = {}
    for (i, k), left in a.items():
        follow = rows.get(k, ())
        spend(len(follow))
        for j, right in follow:
            found.setdefault((i, j), []).append(seq(left, right))
    return {place: either(exprs) for place, exprs in found.items()}


def closure(matrix: Matrix, size: int, spend: Spend) -> Matrix:
    """Any number of texts of `matrix` after one another, none included."""
    found = dict(matrix)
    for k in range(size):
        around = times(found[k, k], 0, None) if (k, k) in found else EPSILON
        into = [(i, seq(expr, around)) for (i, j), expr in found.items() if j == k and i != k]
        out = [(j, expr) for (i, j), expr in found.items() if i == k and j != k]
        spend(len(into) * len(out) + len(found))
        for i, first in into:
            found[i, k] = first
            for j, last in out:
                through = seq(first, last)
                found[i, j] = either([found[i, j], through]) if (i, j) in found else through
        for j, last in out:
            found[k, j] = seq(around, last)
        found[k, k] = around
    return found


def power(matrix: Matrix, size: int, lo: int, hi: int | None, spend: Spend) -> Matrix:
    """lo to hi texts of `matrix`; by squaring, so that the result grows with log(hi)."""
    if all(i == j for i, j in matrix):
        nothing = {} if lo else identity(size)
        return {**nothing, **{place: times(expr, lo, hi) for place, expr in matrix.items()}}
    first = _exactly(matrix, size, lo, spend)
    if hi is None:
        rest = closure(matrix, size, spend)
    else:
        rest = _exactly(total([identity(size), matrix]), size, hi - lo, spend)
    return product(first, rest, spend)


def _exactly(matrix: Matrix, size: int, count: int, spend: Spend) -> Matrix:
    result = identity(size)
    while count:
        if count & 1:
            result = product(result, matrix, spend)
        count >>= 1
        if count:
            matrix = product(matrix, matrix, spend)
    return result
