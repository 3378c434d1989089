"""Sets of characters in two readings, and what single-letter escapes mean.

Engines disagree on `\\d`, `\\w`, `\\s`: ASCII with `re.ASCII` (and, but for `\\s`, in ECMA-262),
Unicode by default in Python and in Rust (pydantic). A generated text should satisfy all of them, so
a set has two readings: `sure`, the characters that every engine matches, and `maybe`, those that
any engine does. A negation swaps them: what is surely not a digit is what is not maybe one.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Callable, Iterable
from itertools import chain
from types import MappingProxyType

from sestina.lang.grammar_ir import Expr, Ranges, complement, normalise

Lazy = Callable[[], Ranges]

Spell = Callable[[Ranges], Expr]
"""How one character of a set is written in the text: `expr.char`, or a JSON spelling."""


class CharSet:
    """One character: those every engine matches, and those any engine matches.

    sure, maybe: the ranges, or what works them out when they are first asked for: the Unicode sets
    take their time, and one of the two readings is enough for most patterns.
    """

    __slots__ = ("_maybe", "_sure")

    def __init__(self, sure: Ranges | Lazy, maybe: Ranges | Lazy) -> None:
        self._sure = sure
        self._maybe = maybe

    @property
    def sure(self) -> Ranges:
        if not isinstance(self._sure, tuple):
            self._sure = self._sure()
        return self._sure

    @property
    def maybe(self) -> Ranges:
        if not isinstance(self._maybe, tuple):
            self._maybe = self._maybe()
        return self._maybe

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CharSet):
            return NotImplemented
        return self is other or (self.sure == other.sure and self.maybe == other.maybe)

    def __hash__(self) -> int:
        return hash(self.sure)

    def __repr__(self) -> str:
        return f"CharSet(sure={self.sure!r}, maybe={self.maybe!r})"


def exactly(ranges: Iterable[tuple[int, int]]) -> CharSet:
    """A set on which all engines agree."""
    found = normalise(ranges)
    return CharSet(found, found)


def inverse(chars: CharSet) -> CharSet:
    return CharSet(lambda: complement(chars.maybe), lambda: complement(chars.sure))


def union(sets: Iterable[CharSet]) -> CharSet:
    every = tuple(sets)
    return CharSet(
        lambda: normalise(chain.from_iterable(s.sure for s in every)),
        lambda: normalise(chain.from_iterable(s.maybe for s in every)),
    )


def intersect(a: Ranges, b: Ranges) -> Ranges:
    """The code points in both; cost: linear."""
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(a) and j < len(b):
        lo, hi = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if lo <= hi:
            found.append((lo, hi))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


DIGITS: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
NEWLINE = exactly(((0x0A, 0x0A),))
LINE_ENDS = exactly(((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)))

_ASCII = MappingProxyType({"d": DIGITS, "w": WORD, "s": SPACE})


def is_class_letter(letter: str) -> bool:
    """Whether `\\letter` is a class: one of d, w, s, D, W, S."""
    return letter.lower() in _ASCII


@functools.lru_cache(maxsize=32)
def meaning(letter: str, is_ascii: bool | None = None) -> CharSet:
    """What `\\letter` stands for: with a flag exactly what Python's re.ASCII or re.UNICODE say.

    Without one, the two readings that engines leave open. The Unicode sets come from this Python's
    tables when they are first asked for (about 25 ms).
    """
    if letter not in _ASCII:
        return inverse(meaning(letter.lower(), is_ascii))
    if is_ascii:
        return exactly(_ASCII[letter])
    if is_ascii is False:
        return exactly(_python_unicode(letter))
    return CharSet(_ASCII[letter], lambda: _any_engine(letter))


def _python_unicode(letter: str) -> Ranges:
    if letter == "s":
        return normalise((c, c) for c in range(0x3001) if chr(c).isspace())
    if letter == "d":
        return in_category("Nd")
    # str.isalnum, and the underscore; it is true of some marks and symbols by their numeric value.
    letters = in_category("L", "N")
    marks = (c for lo, hi in in_category("M", "S", "P") for c in range(lo, hi + 1))
    return normalise([*letters, (0x5F, 0x5F), *((c, c) for c in marks if chr(c).isalnum())])


def _any_engine(letter: str) -> Ranges:
    """Characters without a category count too: another engine's tables may be newer."""
    if letter == "s":
        return normalise(SPACE + _OTHER_SPACE)
    if letter == "d":
        return normalise(in_category("Nd") + assignable())
    known = in_category("L", "N", "M", "Pc") + _OTHER_WORD
    return normalise(known + _python_unicode("w") + assignable())


# White_Space, and what `str.isspace` adds (U+001C to U+001F); U+180E was a space until Unicode 6.3
# and U+FEFF is one in ECMA-262.
_OTHER_SPACE: Ranges = (
    *((0x1C, 0x1F), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x180E, 0x180E)),
    *((0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F)),
    *((0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)

# Word characters by Unicode TR 18 annex C whose category does not show it: join controls, circled
# and squared letters.
_OTHER_WORD: Ranges = (
    (0x200C, 0x200D),
    (0x24B6, 0x24E9),
    (0x1F130, 0x1F149),
    (0x1F150, 0x1F169),
    (0x1F170, 0x1F189),
)


@functools.lru_cache(maxsize=128)
def in_category(*prefixes: str) -> Ranges:
    """The characters whose general category begins with one of these: "L" is Lu, Ll, Lt, Lm, Lo."""
    return normalise((lo, hi) for lo, hi, name in _category_runs() if name.startswith(prefixes))


def assignable() -> Ranges:
    """Code points with no category yet that a later Unicode may give one: not noncharacters."""
    return complement(complement(in_category("Cn")) + NONCHARACTERS)


# The Unicode Standard, section 23.7: never assigned, by promise.
NONCHARACTERS: Ranges = (
    (0xFDD0, 0xFDEF),
    *((plane << 16 | 0xFFFE, plane << 16 | 0xFFFF) for plane in range(17)),
)


@functools.lru_cache(maxsize=1)
def _category_runs() -> tuple[tuple[int, int, str], ...]:
    """All code points by general category, in runs of one; computed once, in about 20 ms."""
    runs: list[tuple[int, int, str]] = []
    start, name = 0, unicodedata.category("\0")
    settled = iter(_SETTLED)
    first, last = next(settled)
    for block in range(0, sys.maxunicode + 1, 256):
        if block > last:
            first, last = next(settled, (sys.maxunicode, sys.maxunicode))
        if first < block and block + 255 <= last:
            continue
        names = list(map(unicodedata.category, map(chr, range(block, block + 256))))
        if names.count(name) == 256:
            continue
        for code, found in enumerate(names, block):
            if found != name:
                runs.append((start, code - 1, name))
                start, name = code, found
    return (*runs, (start, sys.maxunicode, name))


# Of one category each: ideographs and syllables that have been there since Unicode 3.1, surrogates
# and private use, which stay as they are by promise, and planes 4 to 13, for which nothing is
# proposed (their last two code points are never assigned, so unassigned too).
_SETTLED = (
    *((0x3400, 0x4DB5), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xD800, 0xDFFF), (0xE000, 0xF8FF)),
    *((0x20000, 0x2A6D6), (0x40000, 0xDFFFF), (0xF0000, 0xFFFFD), (0x100000, 0x10FFFD)),
)
