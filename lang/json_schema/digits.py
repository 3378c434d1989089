"""Decimal spellings of a magnitude between two others, as languages of digits.

Comparing two spellings digit by digit from the left is a finite automaton: they agree up to some
digit, which decides. So each language here is an alternative for each digit of a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from sestina.lang.expr import either, maybe, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, And, Expr, Literal, byte_range

DIGIT = byte_range(0x30, 0x39)
NONZERO = byte_range(0x31, 0x39)
MINUS, POINT, ZERO = Literal(b"-"), Literal(b"."), Literal(b"0")
WHOLE = either([ZERO, seq(NONZERO, times(DIGIT, 0, None))])
FRACTION = maybe(seq(POINT, times(DIGIT, 1, None)))
NO_FRACTION = maybe(seq(POINT, times(ZERO, 1, None)))

# A double becomes zero below 2.5e-324; more leading zeros than this could turn > 0 into 0.
MAX_LEADING_ZEROS = 300


def split(value: Decimal) -> tuple[str, str]:
    """The digits of |value| before and after the point, without useless zeros."""
    whole, _, fraction = format(value.copy_abs(), "f").partition(".")
    return whole.lstrip("0") or "0", fraction.rstrip("0")


def decimals(
    low: Decimal, high: Decimal | None, *, is_open: bool = False, highest: int | None = None
) -> Expr:
    """Decimals without exponent from low >= 0 (left out if open) to high, or to a whole part."""
    first, first_fraction = split(low)
    from_low = _fraction_at_least(first_fraction, is_open)
    if high is None:
        return either(
            [seq(text(first), from_low), seq(magnitudes(int(first) + 1, highest), FRACTION)]
        )
    last, last_fraction = split(high)
    to_high = fraction_at_most(last_fraction)
    if first == last:
        if from_low is FRACTION:
            return seq(text(last), to_high)
        return seq(text(last), And((from_low, to_high)))
    if low > high:
        return NOTHING
    middle = seq(magnitudes(int(first) + 1, int(last) - 1), FRACTION)
    if from_low is FRACTION:  # the whole part of the lower bound is like those above it
        return either(
            [seq(magnitudes(int(first), int(last) - 1), FRACTION), seq(text(last), to_high)]
        )
    return either([seq(text(first), from_low), middle, seq(text(last), to_high)])


def _fraction_at_least(digits: str, is_open: bool) -> Expr:
    """A point and digits from these on, or nothing where they are none."""
    if not digits and not is_open:
        return FRACTION
    after = times(DIGIT, 0, None)
    if is_open:
        after = seq(times(ZERO, 0, MAX_LEADING_ZEROS), NONZERO, after)
    tails = [
        seq(text(digits[:i]), between(int(digit) + 1, 9), times(DIGIT, 0, None))
        for i, digit in enumerate(digits)
    ]
    return seq(POINT, either([*tails, seq(text(digits), after)]))


def fraction_at_most(digits: str, most: int | None = None) -> Expr:
    """Nothing, or a point and digits up to these; `most` digits if given."""
    tails = []
    for i, digit in enumerate(digits):
        rest = times(DIGIT, 0, None if most is None else most - i - 1)
        tails.append(seq(text(digits[:i]), between(0, int(digit) - 1), rest))
        if i:
            tails.append(text(digits[:i]))
    zeros = times(ZERO, 0 if digits else 1, None if most is None else most - len(digits))
    return maybe(seq(POINT, either([*tails, seq(text(digits), zeros)])))


def magnitudes(low: int, high: int | None) -> Expr:
    """The integers low..high (0 <= low) without leading zeros; None is no bound."""
    if high is not None and high < low:
        return NOTHING
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
    apart = next((i for i, (a, b) in enumerate(zip(first, last, strict=True)) if a != b), None)
    if apart is None:
        return text(first)
    rest = len(first) - apart - 1
    middle = between(int(first[apart]) + 1, int(last[apart]) - 1)
    return seq(
        text(first[:apart]),
        either(
            [
                seq(text(first[apart]), _not_below(first[apart + 1 :])),
                seq(middle, times(DIGIT, rest, rest)),
                seq(text(last[apart]), _not_above(last[apart + 1 :])),
            ]
        ),
    )


def _not_below(digits: str) -> Expr:
    """The digit strings of this length from `digits` up."""
    return _beyond(digits, digits.rstrip("0"), lambda digit: between(digit + 1, 9))


def _not_above(digits: str) -> Expr:
    """The digit strings of this length up to `digits`."""
    return _beyond(digits, digits.rstrip("9"), lambda digit: between(0, digit - 1))


def _beyond(digits: str, kept: str, further: Callable[[int], Expr]) -> Expr:
    """Strings that leave `kept` at some digit for a `further` one, or go along all of it."""
    total = len(digits)
    tails = [
        seq(text(kept[:i]), further(int(kept[i])), times(DIGIT, total - i - 1, total - i - 1))
        for i in range(len(kept))
    ]
    rest = total - len(kept)
    return either([*tails, seq(text(kept), times(DIGIT, rest, rest))])


def between(low: int, high: int) -> Expr:
    """One digit."""
    return byte_range(0x30 + low, 0x30 + high) if low <= high else NOTHING


def text(digits: str) -> Expr:
    return Literal(digits.encode()) if digits else EPSILON
