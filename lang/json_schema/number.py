"""JSON numbers as languages (RFC 8259 section 6), with bounds exact.

Free numbers have JSON's whole grammar, as far as they are finite as an IEEE 754 double: most
readers would make infinity of the others. Under a bound the language has every decimal spelling
without exponent of the values inside, and with exponent those of `exponents`; that is all that
`json.dumps` writes. An exclusive bound also holds for the value as a double; so decimals closer to
it than the next double are left out.

An integer is a value, not a spelling: 1.0 is one since draft-06.
"""

from __future__ import annotations

import functools
import math
from decimal import Decimal
from typing import NamedTuple

from sestina.lang import json_text
from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.expr import either, maybe, seq, times
from sestina.lang.grammar_ir import NOTHING, ByteSet, Expr, Literal, literal
from sestina.lang.json_schema.digits import (
    DIGIT,
    FRACTION,
    MINUS,
    NO_FRACTION,
    NONZERO,
    POINT,
    ZERO,
    decimals,
    magnitudes,
    split,
    text,
)
from sestina.lang.json_schema.exponents import (
    LARGE,
    MAX_DOUBLE,
    MAX_EXPONENT,
    MAX_MANTISSA,
    scientific,
    scientific_integers,
)

MAX_BOUND_DIGITS = 1200


class Bounds(NamedTuple):
    """minimum <= x <= maximum, exclusive where said; None is no bound."""

    minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_minimum: Decimal | None = None
    exclusive_maximum: Decimal | None = None

    @property
    def is_free(self) -> bool:
        return self == Bounds()

    def allow(self, value: Decimal) -> bool:
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.exclusive_minimum is None or value > self.exclusive_minimum)
            and (self.exclusive_maximum is None or value < self.exclusive_maximum)
        )


@functools.lru_cache(maxsize=1024)
def integer(bounds: Bounds, *, is_plain: bool = False) -> Expr:
    """The integers inside; NOTHING if there is none.

    is_plain: without fraction or exponent, and without -0 (what an integer is in draft-04).
    """
    low, high = whole_bounds(bounds)
    if low is not None and high is not None and low > high:
        return NOTHING
    negative: Expr = NOTHING
    positive: Expr = NOTHING
    if high is None or high >= 0:
        positive = _integers(max(low or 0, 0), high, is_plain)
    if low is None or low < 0 or (low == 0 and not is_plain):
        nearest = max(-high, 0) if high is not None else 0
        if is_plain:
            nearest = max(nearest, 1)
        negative = _integers(nearest, None if low is None else -low, is_plain)
    return either([positive, seq(MINUS, negative)])


def whole_bounds(bounds: Bounds) -> tuple[int | None, int | None]:
    """The least and the largest integer inside; None where there is none."""
    lows = [math.ceil(bounds.minimum)] if bounds.minimum is not None else []
    if bounds.exclusive_minimum is not None:
        lows.append(math.floor(bounds.exclusive_minimum) + 1)
    highs = [math.floor(bounds.maximum)] if bounds.maximum is not None else []
    if bounds.exclusive_maximum is not None:
        highs.append(math.ceil(bounds.exclusive_maximum) - 1)
    return max(lows, default=None), min(highs, default=None)


@functools.lru_cache(maxsize=1024)
def number(bounds: Bounds) -> Expr:
    """The JSON numbers inside the bounds; NOTHING if there is none."""
    low, low_open, high, high_open = closed(bounds)
    if low is None and high is None:
        return _free()
    if low is not None and high is not None and (low, low_open or high_open) > (high, False):
        return NOTHING
    negative: Expr = NOTHING
    positive: Expr = NOTHING
    if high is None or high > 0 or (high == 0 and not high_open):
        nearest = max(low or Decimal(0), Decimal(0))
        positive = _numbers(nearest, high, is_open=low_open and low == 0)
    if low is None or low < 0 or (low == 0 and not low_open):  # -0 is 0
        nearest = Decimal(0) if high is None else max(high.copy_negate(), Decimal(0))
        negative = _numbers(
            nearest, None if low is None else low.copy_negate(), is_open=high_open and high == 0
        )
    return either([positive, seq(MINUS, negative)])


def closed(bounds: Bounds) -> tuple[Decimal | None, bool, Decimal | None, bool]:
    """The least and the largest number inside, each with whether it is left out itself (only 0)."""
    low, low_open = _tightest(bounds.minimum, bounds.exclusive_minimum, math.inf)
    high, high_open = _tightest(bounds.maximum, bounds.exclusive_maximum, -math.inf)
    low = None if low is not None and low <= -MAX_DOUBLE else low
    high = None if high is not None and high >= MAX_DOUBLE else high
    return low, low_open, high, high_open


def constant(value: Decimal | int | float) -> Expr:
    """The spellings of one value: as it is given, as json.dumps writes it, and without exponent."""
    given = json_text.scalar(value)
    exact = Decimal(given)
    spellings: list[Expr] = [literal(given)] if "e" in given.lower() else []
    if abs(exact.adjusted()) <= MAX_EXPONENT:
        whole, fraction = split(exact)
        tail = seq(POINT, text(fraction), times(ZERO, 0, None)) if fraction else NO_FRACTION
        spellings.append(seq(_sign(exact), text(whole), tail))
        double = float(exact)
        shortest = repr(double)
        if "e" in shortest and Decimal(shortest) == exact:
            spellings.append(literal(shortest))
    return either(spellings or [literal(given)])


def check_bound(value: Decimal) -> Decimal:
    """The same; ConstraintLimitExceeded if writing it out takes too many digits."""
    exponent = value.as_tuple().exponent
    if value.adjusted() > MAX_BOUND_DIGITS or int(exponent) < -MAX_BOUND_DIGITS:
        raise ConstraintLimitExceeded(f"a bound of more than {MAX_BOUND_DIGITS} digits: {value}")
    return value


def _sign(value: Decimal) -> Expr:
    if not value:
        return maybe(MINUS)
    return MINUS if value < 0 else Literal(b"")


def _integers(low: int, high: int | None, is_plain: bool) -> Expr:
    """Magnitudes of integers. A fraction of zeros follows where json.dumps writes no exponent."""
    if is_plain:
        return magnitudes(low, high)
    largest = 10**LARGE - 1
    return either(
        [
            seq(magnitudes(low, largest if high is None else min(high, largest)), NO_FRACTION),
            magnitudes(max(low, largest + 1), high),
            scientific_integers(low, high),
        ]
    )


def _numbers(low: Decimal, high: Decimal | None, *, is_open: bool) -> Expr:
    return either([decimals(low, high, is_open=is_open), scientific(low, high, is_open=is_open)])


def _tightest(
    inclusive: Decimal | None, exclusive: Decimal | None, towards: float
) -> tuple[Decimal | None, bool]:
    """The stricter of two bounds, and whether it is open; only a bound at 0 stays open.

    Any other exclusive bound becomes the next double's shortest spelling: the decimals between
    the two would read back as the bound itself.
    """
    if exclusive is None:
        return inclusive, False
    closed = Decimal(0)
    if exclusive:
        following = math.nextafter(float(exclusive), towards) if _is_double(exclusive) else towards
        if math.isinf(following):
            raise ConstraintLimitExceeded(f"an exclusive bound beyond any double: {exclusive}")
        closed = Decimal(repr(following))
    if inclusive is not None and (inclusive > closed if towards > 0 else inclusive < closed):
        return inclusive, False
    return closed, not exclusive


def _is_double(value: Decimal) -> bool:
    return not math.isinf(float(value))


@functools.lru_cache(maxsize=1)
def _free() -> Expr:
    """Every finite number; an exponent has at most three digits."""
    plus, letter = maybe(Literal(b"+")), ByteSet(1 << 0x65 | 1 << 0x45)
    exponent = either(
        [seq(MINUS, times(DIGIT, 1, 3)), seq(plus, times(DIGIT, 1, 2))],
    )
    large = seq(plus, magnitudes(100, MAX_EXPONENT - 1))
    largest = seq(plus, text(str(MAX_EXPONENT)))
    magnitude = either(
        [
            seq(_whole(MAX_EXPONENT), FRACTION),
            seq(_whole(MAX_EXPONENT - 99), FRACTION, letter, exponent),
            seq(_whole(1), FRACTION, letter, large),
            seq(decimals(Decimal(0), MAX_MANTISSA), letter, largest),
        ]
    )
    return seq(maybe(MINUS), magnitude)


def _whole(num_digits: int) -> Expr:
    """The integers of at most this many digits."""
    return either([ZERO, seq(NONZERO, times(DIGIT, 0, num_digits - 1))])
