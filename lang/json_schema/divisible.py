"""`multipleOf` and its negation, together with bounds."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, NoReturn

from sestina.lang.errors import ConstraintLimitExceeded, UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, seq, times
from sestina.lang.grammar_ir import NOTHING, And, Expr, Literal
from sestina.lang.json_schema.digits import DIGIT, MINUS, NONZERO, POINT, ZERO
from sestina.lang.json_schema.exponents import (
    LARGE,
    MAX_EXPONENT,
    SMALL,
    large_integers,
    small_decimals,
)
from sestina.lang.json_schema.last_digits import split
from sestina.lang.json_schema.number import (
    Bounds,
    closed,
    constant,
    integer,
    number,
    whole_bounds,
)
from sestina.lang.json_schema.residues import MAX_KEPT_RULES, Spellings, Wanted, spellings
from sestina.lang.kept import kept

MAX_LISTED = 200
MAX_WHOLE = 1_000  # remainders that are told without looking at last digits first

# A decimal of at most this many digits before and after the point is read as itself: 15 digits are
# exact in a double.
EXACT_WHOLE, EXACT_PLACES = 7, 8


class Demands(NamedTuple):
    """What a schema says of its numbers beside bounds.

    step: they are multiples of it. excluded: they are no multiples of these. is_integer: they are
    integers, and written as such if is_plain.
    """

    bounds: Bounds
    step: Decimal | None = None
    excluded: tuple[Decimal, ...] = ()
    is_integer: bool = False
    is_plain: bool = False


def is_integral(value: Decimal) -> bool:
    return value == value.to_integral_value()


@kept(MAX_KEPT_RULES, lambda found: 1 + len(found.rules))
def lower(demands: Demands) -> Spellings:
    """The numbers that meet the demands.

    Raises UnsupportedConstraint for a negated step that is no integer, and beyond the limits of
    `residues`.
    """
    bounds, step, excluded = demands.bounds, demands.step, demands.excluded
    if step is None and not excluded:
        if demands.is_integer:
            return Spellings(integer(bounds, is_plain=demands.is_plain), {})
        return Spellings(number(bounds), {})
    try:
        if demands.is_integer or (step is not None and is_integral(step)):
            return _integers(demands)
        if not all(map(is_integral, excluded)):
            _refuse("the negation of a multipleOf that is no integer")
        if step is None:
            whole = _integers(demands)
            return Spellings(either([whole.expr, _no_integers(bounds)]), whole.rules)
        return _decimals(bounds, step, excluded)
    except ConstraintLimitExceeded as error:
        _refuse(f"multipleOf {step or excluded[0]}: {error.reason}")


def _integers(demands: Demands) -> Spellings:
    step = _integer_step(demands.step or Decimal(1))
    excluded = [_beyond(_integer_step(other), step) for other in demands.excluded]
    low, high = whole_bounds(demands.bounds)
    wanted = Wanted(step, excluded=tuple(sorted(set(excluded))), is_plain=demands.is_plain)
    if low is not None and high is not None and (high - low) // step < MAX_LISTED:
        held = [n for n in range(low + -low % step, high + 1, step) if wanted.holds(n)]
        one = _plain if demands.is_plain else constant
        return Spellings(either(map(one, held)), {})
    if not wanted.excluded or wanted.modulus <= MAX_WHOLE:
        return _signed(wanted, low, high)
    parts = [_signed(rest, low, high).ending(ends) for rest, ends in split(wanted)]
    return Spellings(
        either(part.expr for part in parts),
        {name: rule for part in parts for name, rule in part.rules.items()},
    )


def _beyond(other: int, step: int) -> int:
    """The least number such that multiples of `step` are multiples of it if they are of `other`."""
    missing = other // math.gcd(other, step)
    found = math.gcd(other, missing)
    while (more := math.gcd(other, found * missing)) != found:
        found = more
    return found


def _decimals(bounds: Bounds, step: Decimal, excluded: tuple[Decimal, ...]) -> Spellings:
    """Multiples of a step with a fraction; integers may be excluded as far as doubles tell."""
    exact = Fraction(step)
    places = next(n for n in itertools.count() if 10**n % exact.denominator == 0)
    scale = 10**places
    low, low_open, high, high_open = closed(bounds)
    first = None if low is None else math.ceil(Fraction(low) * scale) + (low_open and not low)
    last = None if high is None else math.floor(Fraction(high) * scale) - (high_open and not high)
    if excluded:
        if places > EXACT_PLACES:
            raise ConstraintLimitExceeded("more digits than doubles tell from integers")
        most = 10**EXACT_WHOLE * scale - 1
        first = -most if first is None else max(first, -most)
        last = most if last is None else min(last, most)
    no_multiples = tuple(int(other) * scale for other in excluded)
    return _signed(Wanted(int(exact * scale), places, no_multiples), first, last)


def _signed(wanted: Wanted, low: int | None, high: int | None) -> Spellings:
    """Both signs; zero may have one unless it is to be plain. Bounds are scaled as in `wanted`."""
    positive = negative = Spellings(NOTHING, {})
    if high is None or high >= 0:
        positive = _magnitudes(wanted, max(low or 0, 0), high)
    if low is None or low < 0 or (low == 0 and not wanted.is_plain):
        nearest = max(int(wanted.is_plain), 0 if high is None else -high)
        negative = _magnitudes(wanted, nearest, None if low is None else -low)
    return Spellings(
        either([positive.expr, seq(MINUS, negative.expr)]), {**positive.rules, **negative.rules}
    )


def _magnitudes(wanted: Wanted, low: int, high: int | None) -> Spellings:
    """Also with exponents, those of large powers of ten that are multiples, and of small ones."""
    found = spellings(wanted, low, high)
    more = []
    scale = 10**wanted.places
    if high is None and not wanted.excluded and not wanted.is_plain:
        powers = (n for n in range(MAX_EXPONENT) if 10**n * scale % wanted.step == 0)
        least = LARGE + next(powers, MAX_EXPONENT)
        if low <= 10**least * scale:
            more.append(large_integers(least))
    if (
        wanted.step == 1
        and low <= 1
        and (high is None or high >= 10 ** (wanted.places + SMALL + 1))
    ):
        more.append(small_decimals(wanted.places))
    return Spellings(either([found.expr, *more]), found.rules)


def _no_integers(bounds: Bounds) -> Expr:
    """Decimals that are no integers, nor are read as one."""
    inside = number(bounds)
    whole = either([ZERO, seq(NONZERO, times(DIGIT, 0, EXACT_WHOLE - 1))])
    fractions = seq(times(MINUS, 0, 1), whole, POINT, times(DIGIT, 0, EXACT_PLACES - 1), NONZERO)
    return NOTHING if is_nothing(inside) else And((inside, fractions))


def _integer_step(step: Decimal) -> int:
    """The least integer of which the integers among the multiples of `step` are multiples."""
    return Fraction(step).numerator


def _plain(value: int) -> Expr:
    return Literal(b"%d" % value)


def _refuse(message: str) -> NoReturn:
    raise UnsupportedConstraint(message, keyword="multipleOf")
