"""The character classes of regular expressions, and what single-letter escapes mean.

Engines disagree on `\\d`, `\\w`, `\\s`: ASCII with `re.ASCII` (and, but for `\\s`, in ECMA-262),
Unicode by default in Python and in Rust (pydantic). A generated text should satisfy all of them, so
the positive classes are the ASCII ones, which every engine accepts, and the negative ones leave out
whatever any engine counts as a digit, word character or space.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable
from itertools import chain
from types import MappingProxyType

from sestina.lang.grammar_ir import Ranges, complement, normalise

DIGITS: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))

_POSITIVE = MappingProxyType({"d": DIGITS, "w": WORD, "s": SPACE})

CONTROLS = MappingProxyType({"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B})


def is_class_letter(letter: str) -> bool:
    """Whether `\\letter` is a class: one of d, w, s, D, W, S."""
    return letter.lower() in _POSITIVE


def meaning(letter: str, *, widest: bool = False) -> Ranges:
    """What `\\letter` may stand for in a generated text; `widest`: what any engine lets it match.

    So a character outside the widest meaning is one that no engine matches.
    """
    if widest:
        return complement(meaning(letter.swapcase()))
    return _POSITIVE[letter] if letter in _POSITIVE else _negative(letter.lower())


@functools.lru_cache(maxsize=8)
def _negative(letter: str) -> Ranges:
    """The characters that no engine counts as `\\d`, `\\w` or `\\s` (`letter` d, w or s).

    The Unicode sets of d and w come from this Python's tables on first use (about 0.1 s each).
    Characters it does not know are left out of them too: another engine's tables may be newer.
    """
    if letter == "s":
        return complement(SPACE + _OTHER_SPACE)
    if letter == "d":
        return complement(DIGITS + _where(str.isdecimal))
    return complement(WORD + _where(_is_word) + _OTHER_WORD)


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

# Planes 4 to 13, and what follows the variation selectors of plane 14: unassigned so far.
_UNASSIGNED_PLANES: Ranges = ((0x40000, 0xDFFFF), (0xE1000, 0xEFFFF))


def _is_word(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc", "Me", "Pc")


def _where(is_in: Callable[[str], bool]) -> Ranges:
    """The non-ASCII characters for which `is_in` holds, and those with no category yet."""
    codes = chain(range(0x80, 0x40000), range(0xE0000, 0xE1000))
    found = [c for c in codes if is_in(chr(c)) or unicodedata.category(chr(c)) == "Cn"]
    return normalise([*((code, code) for code in found), *_UNASSIGNED_PLANES])
