"""What `(?i)` adds to a set of characters.

PYTHON is what `re` does without re.ASCII: two characters match each other if their simple lower
case is the same, or if those lower cases share an upper case (`s` and U+017F, for example).
ECMA is simple case folding (ECMA-262, Canonicalize with the u flag; CaseFolding.txt C and S).
ASCII is `re` with re.ASCII: A to Z. ANY_PYTHON leaves open which of Python's two it is.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Hashable
from enum import Enum
from types import MappingProxyType

from sestina.lang.grammar_ir import Ranges, normalise
from sestina.lang.regex.classes import CharSet, in_category, intersect

_UPPER: Ranges = ((0x41, 0x5A),)
_LOWER: Ranges = ((0x61, 0x7A),)


class Folding(Enum):
    ASCII = "ascii"
    PYTHON = "python"
    ECMA = "ecma"
    ANY_PYTHON = "any"


def fold(ranges: Ranges, how: Folding) -> Ranges:
    """The characters that match one of `ranges` when case is ignored.

    Cost: linear in the ranges and the few thousand characters that have a case.

    >>> fold(((0x61, 0x62),), Folding.ASCII)
    ((65, 66), (97, 98))
    """
    if how is Folding.ASCII:
        up = ((lo - 32, hi - 32) for lo, hi in intersect(ranges, _LOWER))
        down = ((lo + 32, hi + 32) for lo, hi in intersect(ranges, _UPPER))
        return normalise([*ranges, *up, *down])
    others = _others(how)
    touched = intersect(ranges, _cased(how))
    added = (other for lo, hi in touched for c in range(lo, hi + 1) for other in others[c])
    return normalise([*ranges, *((c, c) for c in added)])


def fold_for_all(ranges: Ranges, how: Folding) -> CharSet:
    """The two readings of a case-blind set."""
    if how is Folding.ANY_PYTHON:
        return CharSet(fold(ranges, Folding.ASCII), fold(ranges, Folding.PYTHON))
    found = fold(ranges, how)
    if how is not Folding.ECMA:
        return CharSet(found, found)
    newer = (c for a, b in _NEWER for c, d in ((a, b), (b, a)) if intersect(ranges, ((d, d),)))
    return CharSet(found, normalise([*found, *((c, c) for c in newer)]))


# Simple foldings that Unicode 15.1 added: engines with older tables do not know them.
_NEWER = ((0x0390, 0x1FD3), (0x03B0, 0x1FE3), (0xFB05, 0xFB06))


@functools.lru_cache(maxsize=2)
def _others(how: Folding) -> MappingProxyType[int, tuple[int, ...]]:
    """For each character with a case, those it matches besides itself."""
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    key = _python_key if how is Folding.PYTHON else _simple_fold
    for lo, hi in in_category("Lu", "Ll", "Lt", "Lm", "M", "Nl", "So"):
        for code in range(lo, hi + 1):
            groups[key(code)].append(code)
    return MappingProxyType(
        {
            code: tuple(other for other in group if other != code)
            for group in groups.values()
            if len(group) > 1
            for code in group
        }
    )


@functools.lru_cache(maxsize=2)
def _cased(how: Folding) -> Ranges:
    return normalise((c, c) for c in _others(how))


def _python_key(code: int) -> Hashable:
    """The upper case of the simple lower case; U+0130 has `i` for that, in full an accent too."""
    return chr(code).lower()[0].upper()


def _simple_fold(code: int) -> Hashable:
    """Full folding where it is one character; else only the capitals with a simple one fold."""
    folded = chr(code).casefold()
    if len(folded) == 1:
        return ord(folded)
    lower = chr(code).lower()
    return ord(lower) if len(lower) == 1 else code
