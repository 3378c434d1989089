"""The character classes of regular expressions, and what single-letter escapes mean.

Engines disagree on `\\d`, `\\w`, `\\s`: ASCII with `re.ASCII` (and, but for `\\s`, in ECMA-262),
Unicode by default in Python and in Rust (pydantic). A generated text should satisfy all of them, so
the positive classes are the ASCII ones, which every engine accepts, and the negative ones leave out
whatever any engine counts as a digit, word character or space.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MappingProxyType

from sestina.lang.grammar_ir import MAX_CODE_POINT, Ranges, complement, normalise

DIGITS: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))

_POSITIVE = MappingProxyType({"d": DIGITS, "w": WORD, "s": SPACE})

CONTROLS = MappingProxyType({"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B})


def is_class_letter(letter: str) -> bool:
    """Whether `\\letter` is a class: one of d, w, s, D, W, S."""
    return letter.lower() in _POSITIVE


def meaning(letter: str) -> Ranges:
    """What `\\letter` may stand for in a generated text."""
    return _POSITIVE[letter] if letter in _POSITIVE else _negative(letter.lower())


def opposite(letter: str) -> Ranges:
    """What `[^\\letter]` may stand for in a generated text."""
    return meaning(letter.swapcase())


@functools.lru_cache(maxsize=8)
def _negative(letter: str) -> Ranges:
    """The characters that no engine counts as `\\d`, `\\w` or `\\s` (`letter` d, w or s).

    The Unicode sets are taken from this Python's tables on first use (about 0.1 s each). Word
    characters include marks and connector punctuation, as in Unicode TR 18 annex C.
    """
    if letter == "d":
        return complement(DIGITS + _where(str.isdecimal))
    if letter == "s":
        return complement(SPACE + _where(str.isspace) + ((0x180E, 0x180E), (0xFEFF, 0xFEFF)))
    return complement(WORD + _where(_is_word))


def _is_word(char: str) -> bool:
    import unicodedata

    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc", "Me", "Pc", "So", "Cf")


def _where(is_in: Callable[[str], bool]) -> Ranges:
    found: list[tuple[int, int]] = []
    for code in range(0x80, MAX_CODE_POINT + 1):
        if is_in(chr(code)):
            if found and found[-1][1] == code - 1:
                found[-1] = (found[-1][0], code)
            else:
                found.append((code, code))
    return normalise(found)
