"""Numbers that are multiples of something, as languages."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

from sestina.lang.expr import either, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, Expr, Literal, Rule
from sestina.lang.json_schema.number import DIGIT, MINUS, NONZERO, POINT, ZERO, Bounds, integer

MAX_DIVISOR = 1000
MAX_LISTED = 1000
MAX_RESIDUES = 7


def is_integral(value: Decimal) -> bool:
    return value == value.to_integral_value()


def multiples(step: Decimal) -> Expr | None:
    """All multiples of `step` without exponent, zero without sign; None where not regular enough.

    Integers for an integer step: by their last digits where it divides a power of ten, by
    residues (a state each, eliminated one by one) up to MAX_RESIDUES. For a step that divides 1:
    integers with one of the finitely many fractions.
    """
    if is_integral(step):
        magnitude = _multiples_of(int(step))
        return (
            None if magnitude is None else either([ZERO, seq(either([MINUS, EPSILON]), magnitude)])
        )
    parts = 1 / Fraction(step)
    if parts.denominator != 1 or parts > MAX_DIVISOR:
        return None
    fractions = [format(step * i, "f").partition(".")[2].rstrip("0") for i in range(1, int(parts))]
    tail = seq(POINT, either(Literal(f.encode()) for f in fractions), times(ZERO, 0, None))
    whole = either([ZERO, seq(NONZERO, times(DIGIT, 0, None))])
    sign = times(MINUS, 0, 1)
    return either([seq(sign, whole, tail), seq(integer(Bounds()), no_fraction())])


def residue_rules(step: int) -> tuple[Expr, dict[str, Expr]]:
    """The multiples of an integer as a rule for each remainder, read from the left, and its start.

    For steps with too many states for one expression; rules have no place under And and Not.
    """
    names = [f"multiple of {step}: remainder {r}" for r in range(step)]
    rules: dict[str, Expr] = {}

    def following(residue: int, first: int) -> list[Expr]:
        return [
            seq(Literal(b"%d" % digit), Rule(names[(10 * residue + digit) % step]))
            for digit in range(first, 10)
        ]

    for residue, name in enumerate(names):
        rules[name] = either([*following(residue, 0), *([] if residue else [EPSILON])])
    sign = times(MINUS, 0, 1)
    return either([ZERO, seq(sign, either(following(0, 1)))]), rules


def no_fraction() -> Expr:
    """Nothing, or a fraction of zeros."""
    return times(seq(POINT, times(ZERO, 1, None)), 0, 1)


def listed(step: Decimal, bounds: Bounds) -> Expr | None:
    """The multiples of an integer step inside the bounds, one by one; None if they are many."""
    lows = [b for b in (bounds.minimum, bounds.exclusive_minimum) if b is not None]
    highs = [b for b in (bounds.maximum, bounds.exclusive_maximum) if b is not None]
    if not lows or not highs:
        return None
    first = math.floor(Fraction(max(lows)) / Fraction(step))
    last = math.ceil(Fraction(min(highs)) / Fraction(step))
    if last - first > MAX_LISTED:
        return None
    values = [int(step) * i for i in range(first, last + 1)]
    return either(Literal(b"%d" % v) for v in values if bounds.allow(Decimal(v)))


def _multiples_of(step: int) -> Expr | None:
    """The positive multiples of an integer."""
    for num_digits in range(1, 5):
        if 10**num_digits % step == 0:
            return _by_last_digits(step, num_digits)
    return _by_residue(step) if step <= MAX_RESIDUES else None


def _by_last_digits(step: int, num_digits: int) -> Expr:
    endings = [f"{i:0{num_digits}}" for i in range(0, 10**num_digits, step)]
    longer = seq(NONZERO, times(DIGIT, 0, None), either(Literal(e.encode()) for e in endings))
    shorter = either(Literal(b"%d" % i) for i in range(step, 10**num_digits, step))
    return either([shorter, longer])


def _by_residue(step: int) -> Expr:
    """State elimination (Kleene) on the automaton of remainders, read from the left."""
    edges: dict[tuple[int, int], Expr] = {}
    start = step

    def add(source: int, target: int, text: Expr) -> None:
        edges[source, target] = either([edges.get((source, target), NOTHING), text])

    for digit in range(10):
        text = Literal(b"%d" % digit)
        if digit:
            add(start, digit % step, text)
        for residue in range(step):
            add(residue, (10 * residue + digit) % step, text)
    for gone in range(step - 1, 0, -1):
        loop = times(edges.get((gone, gone), NOTHING), 0, None)
        for source in (start, *range(gone)):
            for target in range(gone):
                if (source, gone) in edges and (gone, target) in edges:
                    add(source, target, seq(edges[source, gone], loop, edges[gone, target]))
    return seq(edges[start, 0], times(edges[0, 0], 0, None))
