r"""Characters and ranges in the sets of a regular expression: `[a-z\n\u0100-\u{10FFFF}]`.

The ends of a range must be in order, whichever way they are spelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sestina.lang.expr import either, maybe, seq
from sestina.lang.grammar_ir import And, Expr, byte_range
from sestina.lang.json_schema.formats.in_order import Span, among, in_order, text
from sestina.lang.json_schema.string import spelled

SYNTAX = "^$\\.*+?()[]{}|/"
"""What may stand for itself behind a backslash."""

CONTROLS = {"b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}

_ANY = (0, 15)  # hexadecimal digits
_DASH = text("-")

# `\u{h..}` beyond U+00FF without zeros before it, the shorter first.
_BRACED: Sequence[Sequence[Span]] = [
    *([(1, 15), *[_ANY] * more] for more in (2, 3, 4)),
    [(1, 1), (0, 0), *[_ANY] * 4],
]

# Beyond U+00FF: by the bytes of UTF-8 that are compared, what characters are among those.
_CONTINUING = (0x80, 0xBF)
_RAW: Sequence[tuple[Sequence[Span], Span]] = [
    ([(0xC4, 0xDF), _CONTINUING], (0x100, 0x7FF)),
    ([(0xE0, 0xEF), _CONTINUING], (0x800, 0xFFFF)),
    ([(0xF0, 0xF4), _CONTINUING, _CONTINUING], (0x10000, 0x10FFFF)),
]


def ranges() -> tuple[Expr, Expr]:
    """`x-y` in a set: those that begin with a digit, and all others.

    Left out are dashes and half surrogate pairs as ends, a caret as it is for x (which may come
    first in the set), and ends both beyond U+00FF that are spelled in different ways.
    """
    beyond = either([_raw(0x100, 0x10FFFF), _unit_beyond(), units(), *map(_braced, _BRACED)])
    from_digit = []
    for digit in range(10):
        above = [_last([(3, 3), (digit, 15)]), _last([(4, 15), _ANY]), beyond]
        from_digit.append(seq(text(str(digit)), _DASH, either(above)))
    found = [*in_order(_first, _last, [_ANY, _ANY], _DASH)]
    found.append(seq(_first([_ANY, _ANY]), _DASH, beyond))
    return either(from_digit), either([*found, *_beyond()])


def _beyond() -> Iterator[Expr]:
    """Both ends beyond U+00FF."""
    astral = either([_raw(0x10000, 0x10FFFF), units(), *map(_braced, _BRACED[2:])])
    others = either([_raw(0x100, 0xFFFF), _unit_beyond(), *map(_braced, _BRACED[:2])])
    yield seq(others, _DASH, astral)
    for i, (places, span) in enumerate(_RAW):
        pair = seq(_raw(*span), _DASH, _raw(*span))
        ordered = in_order(_bytes, _bytes, places, _DASH, may_equal=i == 0)
        yield from (And((one, pair)) for one in ordered)
        yield seq(_raw(*span), _DASH, either(_raw(*longer) for _, longer in _RAW[i + 1 :]))
    pair = seq(_unit_beyond(), _DASH, _unit_beyond())
    ordered = in_order(_unit, _unit, [_ANY] * 4, _DASH)
    yield from (And((one, pair)) for one in ordered)
    for i, places in enumerate(_BRACED):
        yield from in_order(_braced, _braced, places, _DASH)
        yield seq(_braced(places), _DASH, either(map(_braced, _BRACED[i + 1 :])))


# ---- up to U+00FF, by the two hexadecimal digits of a code -------------------------------------


def _first(places: Sequence[Span]) -> Expr:
    codes = _codes(places)
    raw = _chars(codes - set(map(ord, "\\]-^0123456789")))
    return either([raw, _escaped(places), *([text("\\0")] if 0 in codes else [])])


def _last(places: Sequence[Span]) -> Expr:
    """Not `\\0`, behind which a digit could follow."""
    return either([_chars(_codes(places) - set(map(ord, "\\]-"))), _escaped(places)])


def _codes(places: Sequence[Span]) -> set[int]:
    (low, high), (first, last) = places
    return {16 * a + b for a in range(low, high + 1) for b in range(first, last + 1)}


def _chars(codes: set[int]) -> Expr:
    return among("".join(map(chr, codes)))


def _escaped(places: Sequence[Span]) -> Expr:
    codes = _codes(places)
    named = [char for char in f"{SYNTAX}-" if ord(char) in codes]
    named += [letter for letter, code in CONTROLS.items() if code in codes]
    letters = "".join(chr(64 + code) + chr(96 + code) for code in codes if 1 <= code <= 26)
    control = seq(text("\\c"), among(letters))
    number = seq(either([text("\\x"), text("\\u00")]), hexadecimal(places))
    return either([*(text(f"\\{char}") for char in named), control, number])


# ---- any character by its number --------------------------------------------------------------


def hexadecimal(places: Sequence[Span]) -> Expr:
    """Digits in either case."""
    digits = ("".join(f"{d:x}" for d in range(low, high + 1)) for low, high in places)
    return seq(*(among(some + some.upper()) for some in digits))


def numbered() -> Expr:
    r"""`\uhhhh`, `\uhhhh\uhhhh` and `\u{h..}`."""
    short = (_braced([_ANY] * length) for length in range(1, 6))
    return either(
        [_unit_beyond(), _unit([(0, 0), (0, 0), _ANY, _ANY]), units(), *short, _braced(_BRACED[-1])]
    )


def units() -> Expr:
    r"""A character beyond U+FFFF as two halves."""
    return seq(*(_unit([(13, 13), half, _ANY, _ANY]) for half in ((8, 11), (12, 15))))


def _unit_beyond() -> Expr:
    """Beyond U+00FF, and no half of a pair."""
    starts = ((0, 0), (1, 15)), ((1, 12), _ANY), ((13, 13), (0, 7)), ((14, 15), _ANY)
    return either(_unit([*start, _ANY, _ANY]) for start in starts)


def _unit(places: Sequence[Span]) -> Expr:
    return seq(text("\\u"), hexadecimal(places))


def _braced(places: Sequence[Span]) -> Expr:
    return seq(text("\\u{"), hexadecimal(places), text("}"))


def _raw(low: int, high: int) -> Expr:
    return spelled(((low, high),))


def _bytes(places: Sequence[Span]) -> Expr:
    """These bytes and any that go on with the character, one at most."""
    more = maybe(byte_range(*_CONTINUING))
    return seq(*(byte_range(*place) for place in places), more)
