"""Numbers with an exponent, in the normalised form that readers write: one digit before the point.

There the exponent alone tells how a number compares with a bound, unless it is that of the bound.
Numbers of a bound's own power of ten are in the language only where `json.dumps` would write an
exponent too: from 1e16 up and below 1e-4.
"""

from __future__ import annotations

import functools
from decimal import Decimal

from sestina.lang.expr import either, maybe, seq, times
from sestina.lang.grammar_ir import NOTHING, And, ByteSet, Expr, Literal
from sestina.lang.json_schema.digits import (
    DIGIT,
    FRACTION,
    MINUS,
    NO_FRACTION,
    NONZERO,
    POINT,
    ZERO,
    decimals,
    fraction_at_most,
    magnitudes,
    split,
    text,
)

# The largest double, 1.7976931348623157e308.
MAX_EXPONENT, MAX_MANTISSA = 308, Decimal("1.7976931348623157")
MAX_DOUBLE = MAX_MANTISSA.scaleb(MAX_EXPONENT)
SMALLEST_DOUBLE = Decimal("5e-324")
LEAST_EXPONENT = -999

# Exponents that json.dumps writes are at least this, or negative and at most that.
LARGE, SMALL = 16, -5

_LETTER = ByteSet(1 << 0x65 | 1 << 0x45)
_MANTISSA = seq(NONZERO, FRACTION)


def scientific(low: Decimal, high: Decimal | None, *, is_open: bool = False) -> Expr:
    """Numbers from low >= 0 to high (None: the largest double) with an exponent; 0 has none."""
    high = MAX_DOUBLE if high is None else high
    low = SMALLEST_DOUBLE if is_open else low
    if not high or low > high:
        return NOTHING
    last = high.adjusted()
    least, most = LEAST_EXPONENT, last - 1
    first = None
    ends: list[Expr] = []
    if low:
        first = low.adjusted()
        least = first + 1
        if _is_written(first):
            mantissa = decimals(
                _mantissa(low), _mantissa(high) if first == last else None, highest=9
            )
            ends.append(seq(mantissa, _exponent(first, first)))
    if first != last and _is_written(last):
        ends.append(seq(decimals(Decimal(1), _mantissa(high)), _exponent(last, last)))
    return either([seq(_MANTISSA, _exponent(least, most)), *ends])


@functools.lru_cache(maxsize=256)
def scientific_integers(low: int, high: int | None) -> Expr:
    """Positive integers from low to high with an exponent, from 1e16 up if there is a bound above.

    Up to 16 digits follow the point, as many as a double has, and no more than the exponent says.
    """
    first = max(low, 1)
    if high is None and first <= 10**LARGE:
        num_digits = len(str(first))
        least = num_digits - (first == 10 ** (num_digits - 1))
        small = [seq(_integral(n), _exponent(n, n)) for n in range(least, LARGE)]
        return either([*small, large_integers(LARGE)])
    if high is not None and high < 10**LARGE:
        return NOTHING
    bounded = scientific(Decimal(max(first, 10**LARGE)), None if high is None else Decimal(high))
    return And((bounded, seq(_integral(LARGE), _exponent(LARGE, MAX_EXPONENT))))


@functools.lru_cache(maxsize=64)
def large_integers(least: int) -> Expr:
    """Mantissas of up to 16 digits after the point, exponents from `least`; finite as doubles."""
    whole, fraction = split(MAX_MANTISSA)
    largest = seq(text(whole), fraction_at_most(fraction, LARGE))
    return either(
        [
            seq(_integral(LARGE), _exponent(least, MAX_EXPONENT - 1)),
            seq(largest, _exponent(max(least, MAX_EXPONENT), MAX_EXPONENT)),
        ]
    )


@functools.lru_cache(maxsize=64)
def small_decimals(places: int) -> Expr:
    """Numbers below 1e-4 with so many digits after the point, if it were at its place."""
    return either(seq(_integral(places - n), _exponent(-n, -n)) for n in range(-SMALL, places + 1))


def _integral(most: int) -> Expr:
    """A mantissa with at most so many digits after the point, all of them zeros if none."""
    return seq(NONZERO, maybe(seq(POINT, times(DIGIT, 1, most))) if most else NO_FRACTION)


def _mantissa(value: Decimal) -> Decimal:
    digits = value.as_tuple().digits
    return Decimal((0, digits, 1 - len(digits)))


def _is_written(exponent: int) -> bool:
    return exponent >= LARGE or exponent <= SMALL


@functools.lru_cache(maxsize=256)
def _exponent(least: int, most: int) -> Expr:
    """The letter and the exponents of a range: zeros may lead, `+` may be left out."""
    if least > most:
        return NOTHING
    zeros = times(ZERO, 0, 2)
    signed = []
    if most >= 0:
        plus = maybe(Literal(b"+"))
        signed.append(seq(plus, zeros, magnitudes(max(least, 0), most)))
    if least < 0:
        signed.append(seq(MINUS, zeros, magnitudes(max(-most, 1), -least)))
    return seq(_LETTER, either(signed))
