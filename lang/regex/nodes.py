"""The syntax tree of a regular expression.

Five nodes are enough: anchors and word boundaries are looks at one character.

    Char(chars)                     one character
    Seq(items)                      one after the other; Seq(()) is the empty text
    Or(items)                       any of them, the first preferred
    Loop(item, lo, hi, is_lazy)     lo to hi copies; hi None is unbounded
    Look(body, is_ahead, is_negative)   the empty text, where `body` begins (ahead) or ends

`has_look` says whether a Look is inside: what has none is a plain regular expression.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from sestina.lang.grammar_ir import ANY_CHAR, complement
from sestina.lang.regex.casing import Folding, fold_for_all
from sestina.lang.regex.classes import (
    LINE_ENDS,
    NEWLINE,
    CharSet,
    exactly,
    inverse,
    meaning,
)


@dataclass(frozen=True, slots=True, eq=False)
class Char:
    chars: CharSet
    has_look: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, eq=False)
class Seq:
    items: tuple[Node, ...]
    has_look: bool


@dataclass(frozen=True, slots=True, eq=False)
class Or:
    items: tuple[Node, ...]
    has_look: bool


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    item: Node
    lo: int
    hi: int | None
    is_lazy: bool
    has_look: bool


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """`at` is its place in the pattern, for messages."""

    body: Node
    is_ahead: bool
    is_negative: bool
    at: int = 0
    has_look: ClassVar[bool] = True


Node = Char | Seq | Or | Loop | Look

EMPTY = Seq((), False)


def seq_of(items: Iterable[Node]) -> Node:
    """One after the other; what is EMPTY is left out."""
    every = tuple(item for item in items if item is not EMPTY)
    if len(every) == 1:
        return every[0]
    return Seq(every, any(item.has_look for item in every)) if every else EMPTY


def or_of(items: Iterable[Node]) -> Node:
    every = tuple(items)
    return every[0] if len(every) == 1 else Or(every, any(item.has_look for item in every))


def loop_of(item: Node, lo: int, hi: int | None, *, is_lazy: bool = False) -> Node:
    if (lo, hi) == (1, 1):
        return item
    if hi == 0 or item is EMPTY:
        return EMPTY
    return Loop(item, lo, hi, is_lazy, item.has_look)


@functools.lru_cache(maxsize=4096)
def char_of(code: int, folding: Folding | None) -> Char:
    """One literal character, and those that match it when case is ignored."""
    ranges = ((code, code),)
    return Char(exactly(ranges) if folding is None else fold_for_all(exactly(ranges).sure, folding))


def widths(node: Node) -> tuple[int, int | None]:
    """The least and greatest number of characters in a match; None if there is no greatest.

    Sets count as one character even where a reading leaves them empty. Recursive in groups.
    """
    match node:
        case Char():
            return 1, 1
        case Look():
            return 0, 0
        case Seq(items):
            each = [widths(item) for item in items]
            return sum(lo for lo, _ in each), _total(hi for _, hi in each)
        case Or(items):
            each = [widths(item) for item in items]
            tops = [hi for _, hi in each if hi is not None]
            return min(lo for lo, _ in each), max(tops) if len(tops) == len(each) else None
        case Loop(item, lo, hi):
            low, high = widths(item)
            if high == 0:
                return 0, 0
            return low * lo, None if hi is None or high is None else high * hi


def _total(numbers: Iterable[int | None]) -> int | None:
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def fixed_width(node: Node) -> int | None:
    """How many characters every match has; None if they differ."""
    low, high = widths(node)
    return low if low == high else None


# ---- anchors and word boundaries --------------------------------------------------------------

ANY = Char(exactly(ANY_CHAR))
_NOT_NEWLINE = Char(inverse(NEWLINE))
_NOT_LINE_END = Char(inverse(LINE_ENDS))

TEXT_START = Look(ANY, is_ahead=False, is_negative=True)
TEXT_END = Look(ANY, is_ahead=True, is_negative=True)
LINE_START = Look(_NOT_NEWLINE, is_ahead=False, is_negative=True)
LINE_END = Look(_NOT_NEWLINE, is_ahead=True, is_negative=True)
ECMA_LINE_START = Look(_NOT_LINE_END, is_ahead=False, is_negative=True)
ECMA_LINE_END = Look(_NOT_LINE_END, is_ahead=True, is_negative=True)


def _before_end(newline: CharSet) -> Look:
    return Look(seq_of((loop_of(Char(newline), 0, 1), TEXT_END)), True, False)


# Python's `$` matches before a last newline too, ECMA-262's does not; so of an ECMA pattern that
# an engine written in Python reads, only the place at the very end is sure.
LAST_LINE_END = _before_end(NEWLINE)
ECMA_TEXT_END = _before_end(CharSet((), NEWLINE.sure))

# Which newline may stand between the place and the end of the text.
ENDS: Mapping[Look, CharSet] = MappingProxyType(
    {
        TEXT_END: CharSet((), ()),
        LAST_LINE_END: NEWLINE,
        ECMA_TEXT_END: CharSet((), NEWLINE.sure),
    }
)

DOT = _NOT_NEWLINE
ECMA_DOT = Char(CharSet(complement(LINE_ENDS.sure), complement(NEWLINE.sure)))


@functools.lru_cache(maxsize=16)
def word_boundary(*, is_inside: bool, is_ascii: bool | None, needs_text: bool) -> Node:
    """`\\b`, or with is_inside `\\B`; needs_text: `\\B` does not match in an empty text.

    That is what Python's `re` does before version 3.14.
    """
    word = Char(meaning("w", is_ascii))
    sides = [
        seq_of((Look(word, False, before), Look(word, True, before is is_inside)))
        for before in (False, True)
    ]
    if is_inside and needs_text:
        some = or_of((Look(ANY, False, False), Look(ANY, True, False)))
        sides[1] = seq_of((sides[1], some))
    return or_of(sides)
