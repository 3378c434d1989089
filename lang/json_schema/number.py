"""JSON numbers as languages (RFC 8259 section 6), with bounds exact.

Free numbers have JSON's whole grammar, as far as they are finite as an IEEE 754 double: most
readers would make infinity of the others. Under a bound a number is written without exponent, and
the language is exactly the decimal spellings whose value is inside: comparing a spelling with a
bound digit by digit from the left is a finite automaton. An exclusive bound also holds for the
value as a double; so decimals closer to it than the next double are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.expr import either, maybe, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, And, ByteSet, Expr, Literal, byte_range

DIGIT = byte_range(0x30, 0x39)
NONZERO = byte_range(0x31, 0x39)
MINUS, POINT, ZERO = Literal(b"-"), Literal(b"."), Literal(b"0")

# A double becomes zero below 2.5e-324; more leading zeros than this could turn > 0 into 0.
MAX_LEADING_ZEROS = 300
MAX_BOUND_DIGITS = 1200

# The largest double, 1.7976931348623157e308.
MAX_EXPONENT, MAX_MANTISSA = 308, "7976931348623157"


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


def integer(bounds: Bounds) -> Expr:
    """Integers without fraction or exponent; zero has no sign. NOTHING if none is inside."""
    lows = [math.ceil(bounds.minimum)] if bounds.minimum is not None else []
    if bounds.exclusive_minimum is not None:
        lows.append(math.floor(bounds.exclusive_minimum) + 1)
    highs = [math.floor(bounds.maximum)] if bounds.maximum is not None else []
    if bounds.exclusive_maximum is not None:
        highs.append(math.ceil(bounds.exclusive_maximum) - 1)
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and low > high:
        return NOTHING
    return _signed_integers(low, high)


def number(bounds: Bounds) -> Expr:
    """Any JSON number, or decimals inside the bounds. NOTHING if none is inside."""
    if bounds.is_free:
        return seq(maybe(MINUS), _finite_magnitude())
    low, low_open = _tightest(bounds.minimum, bounds.exclusive_minimum, math.inf)
    high, high_open = _tightest(bounds.maximum, bounds.exclusive_maximum, -math.inf)
    if low is not None and high is not None and (low, low_open or high_open) > (high, False):
        return NOTHING
    sides = []
    if low is not None:
        sides.append(_signed(*_at_least(low, low_open)))
    if high is not None:  # x <= high where -x >= -high
        negative, positive = _at_least(-high, high_open)
        sides.append(_signed(positive, negative))
    return sides[0] if len(sides) == 1 else And(tuple(sides))


def check_bound(value: Decimal) -> Decimal:
    """The same; ConstraintLimitExceeded if writing it out takes too many digits."""
    exponent = value.as_tuple().exponent
    if value.adjusted() > MAX_BOUND_DIGITS or int(exponent) < -MAX_BOUND_DIGITS:
        raise ConstraintLimitExceeded(f"a bound of more than {MAX_BOUND_DIGITS} digits: {value}")
    return value


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


def _at_least(bound: Decimal, is_open: bool) -> tuple[Expr, Expr]:
    """x >= bound (x > bound): the spellings of |x| for x without sign, and with a minus."""
    whole, fraction = _digits(bound)
    if bound > 0 or (bound == 0 and is_open):
        return _magnitude_at_least(whole, fraction, is_open), NOTHING
    # A bound of 0 lets -0 in: its value is 0.
    return _magnitude_at_least("0", "", False), _magnitude_at_most(whole, fraction)


def _signed(positive: Expr, negative: Expr) -> Expr:
    return either([positive, seq(MINUS, negative)])


def _digits(value: Decimal) -> tuple[str, str]:
    """The digits of |value| before and after the point, without useless zeros."""
    whole, _, fraction = format(abs(value), "f").partition(".")
    return whole.lstrip("0") or "0", fraction.rstrip("0")


def _magnitude_at_least(whole: str, fraction: str, is_open: bool) -> Expr:
    any_fraction = maybe(seq(POINT, times(DIGIT, 1, None)))
    larger = seq(_magnitudes(int(whole) + 1, None), any_fraction)
    after = times(DIGIT, 0, None)
    if is_open:
        after = seq(times(ZERO, 0, MAX_LEADING_ZEROS), NONZERO, after)
    if not fraction and not is_open:
        return either([seq(_text(whole), any_fraction), larger])
    tails = [
        seq(_text(fraction[:i]), _digits_between(int(fraction[i]) + 1, 9), times(DIGIT, 0, None))
        for i in range(len(fraction))
    ]
    equal = seq(_text(whole), POINT, either([*tails, seq(_text(fraction), after)]))
    return either([equal, larger])


def _magnitude_at_most(whole: str, fraction: str) -> Expr:
    any_fraction = maybe(seq(POINT, times(DIGIT, 1, None)))
    smaller = seq(_magnitudes(0, int(whole) - 1), any_fraction) if whole != "0" else NOTHING
    tails = []
    for i, digit in enumerate(fraction):
        below = _digits_between(0, int(digit) - 1)
        tails.append(seq(_text(fraction[:i]), below, times(DIGIT, 0, None)))
        if i:
            tails.append(_text(fraction[:i]))
    zeros = times(ZERO, 0 if fraction else 1, None)
    equal = maybe(seq(POINT, either([*tails, seq(_text(fraction), zeros)])))
    return either([seq(_text(whole), equal), smaller])


def _finite_magnitude() -> Expr:
    """Numbers without sign, below 1.8e308; an exponent has at most three digits."""
    fraction = maybe(seq(POINT, times(DIGIT, 1, None)))
    plus, letter = maybe(Literal(b"+")), ByteSet(1 << 0x65 | 1 << 0x45)
    exponent = either(
        [seq(MINUS, times(DIGIT, 1, 3)), seq(plus, times(DIGIT, 1, 2))],
    )
    large = seq(plus, _magnitudes(100, MAX_EXPONENT - 1))
    largest = seq(plus, _text(str(MAX_EXPONENT)))
    return either(
        [
            seq(_whole(MAX_EXPONENT), fraction),
            seq(_whole(MAX_EXPONENT - 99), fraction, letter, exponent),
            seq(_whole(1), fraction, letter, large),
            seq(_magnitude_at_most("1", MAX_MANTISSA), letter, largest),
        ]
    )


def _whole(num_digits: int) -> Expr:
    """The integers of at most this many digits."""
    return either([ZERO, seq(NONZERO, times(DIGIT, 0, num_digits - 1))])


def _signed_integers(low: int | None, high: int | None) -> Expr:
    """The integers from low to high; None is no bound."""
    negative: Expr = NOTHING
    if low is None or low < 0:
        nearest = 1 if high is None or high >= 0 else -high
        negative = seq(MINUS, _magnitudes(nearest, None if low is None else -low))
    positive: Expr = NOTHING
    if high is None or high >= 0:
        positive = _magnitudes(max(low or 0, 0), high)
    return either([positive, negative])


def _magnitudes(low: int, high: int | None) -> Expr:
    """The integers low..high (0 <= low <= high) without leading zeros."""
    first = str(low)
    last = None if high is None else str(high)
    if last is not None and len(last) == len(first):
        return _same_length(first, last)
    num_digits = len(first)
    parts = [_same_length(first, "9" * num_digits)]
    if last is None:
        parts.append(seq(NONZERO, times(DIGIT, num_digits, None)))
    else:
        if len(last) > num_digits + 1:
            parts.append(seq(NONZERO, times(DIGIT, num_digits, len(last) - 2)))
        parts.append(_same_length("1" + "0" * (len(last) - 1), last))
    return either(parts)


def _same_length(first: str, last: str) -> Expr:
    """The digit strings from first to last, all of one length."""
    split = next((i for i, (a, b) in enumerate(zip(first, last, strict=True)) if a != b), None)
    if split is None:
        return _text(first)
    rest = len(first) - split - 1
    middle = _digits_between(int(first[split]) + 1, int(last[split]) - 1)
    return seq(
        _text(first[:split]),
        either(
            [
                seq(_text(first[split]), _not_below(first[split + 1 :])),
                seq(middle, times(DIGIT, rest, rest)),
                seq(_text(last[split]), _not_above(last[split + 1 :])),
            ]
        ),
    )


def _not_below(digits: str) -> Expr:
    """The digit strings of this length from `digits` up."""
    return _beyond(digits, digits.rstrip("0"), lambda digit: _digits_between(digit + 1, 9))


def _not_above(digits: str) -> Expr:
    """The digit strings of this length up to `digits`."""
    return _beyond(digits, digits.rstrip("9"), lambda digit: _digits_between(0, digit - 1))


def _beyond(digits: str, kept: str, further: Callable[[int], Expr]) -> Expr:
    """Strings that leave `kept` at some digit for a `further` one, or go along all of it."""
    total = len(digits)
    tails = [
        seq(_text(kept[:i]), further(int(kept[i])), times(DIGIT, total - i - 1, total - i - 1))
        for i in range(len(kept))
    ]
    rest = total - len(kept)
    return either([*tails, seq(_text(kept), times(DIGIT, rest, rest))])


def _digits_between(low: int, high: int) -> Expr:
    return byte_range(0x30 + low, 0x30 + high) if low <= high else NOTHING


def _text(digits: str) -> Expr:
    return Literal(digits.encode()) if digits else EPSILON
