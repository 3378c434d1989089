"""The constraint IR: what every constraint means, as a language over bytes.

A `Grammar` is a start expression and named rules. Expressions are frozen trees (shared sub-trees
are welcome: compilers memoise by value or identity). Text is UTF-8, so a character is one to four
bytes; `lang.regex_syntax` and `lang.json_schema` produce these nodes, `backend.grammar` turns them
into an automaton. A node matches a set of byte strings:

    ByteSet(mask)          one byte b with bit b of the 256-bit integer `mask` set
    Literal(data)          exactly these bytes (b"" is the empty string)
    Concat(items)          one after the other
    Alt(items)             any of them; Alt(()) is the empty language
    Repeat(item, lo, hi)   lo to hi copies; hi None is unbounded
    And(items)             all of them at once: rule-free operands only, but for one
    Not(item)              every byte string that `item` does not match; rule-free operands only
    Permute(parts, ...)    different parts in any order, with a separator in between
    Rule(name)             the language of a named rule: recursion
    Special(token)         one control token of the vocabulary by its name, never its spelling

`And`/`Not` over recursion are refused by the compiler, not approximated: context-free languages
are not closed under either (Hopcroft and Ullman 1979, section 6.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from sestina.lang.errors import InternalError

MAX_CODE_POINT = 0x10FFFF

if TYPE_CHECKING:
    from dataclasses import dataclass as node
else:

    def node(*, frozen, slots):
        """A frozen dataclass, as the type checker sees to it: one that is frozen when it runs takes
        twice as long to make, and a schema makes thousands."""
        return dataclass(slots=slots, unsafe_hash=frozen)


@node(frozen=True, slots=True)
class ByteSet:
    mask: int


@node(frozen=True, slots=True)
class Literal:
    data: bytes


@node(frozen=True, slots=True)
class Concat:
    items: tuple[Expr, ...]


@node(frozen=True, slots=True)
class Alt:
    items: tuple[Expr, ...]


@node(frozen=True, slots=True)
class Repeat:
    item: Expr
    lo: int
    hi: int | None


@node(frozen=True, slots=True)
class And:
    items: tuple[Expr, ...]


@node(frozen=True, slots=True)
class Not:
    item: Expr


@node(frozen=True, slots=True)
class Part:
    """One part of a `Permute`: whether it must be there, and whether more than once is fine."""

    item: Expr
    required: bool = False
    repeats: bool = False


@node(frozen=True, slots=True)
class Permute:
    """Parts in any order, `separator` between them: those `required`, and of the others any.

    Only parts that may repeat occur twice. There are at least `lo` different parts, and at most
    `hi` in all, counted as often as they occur (None: no bound). Without a part that must be there
    and with `lo` 0 the empty text is in. No item matches the empty text.

    An automaton needs one state per set of parts seen (and per number of them, where `hi` bounds
    repeated ones), entered only when a text leads there; written out as `Alt` and `Concat` it is
    2^n nodes, and no grammar of polynomial size exists (Asveld 2006, "Generating all permutations
    by context-free grammars"). A set is live exactly if those that are missing fit:

        max(missing required, lo - seen) <= hi - occurred,   lo - seen <= parts not seen
    """

    parts: tuple[Part, ...]
    separator: Expr
    lo: int = 0
    hi: int | None = None


@node(frozen=True, slots=True)
class Rule:
    name: str


@node(frozen=True, slots=True)
class Special:
    token: str


Expr = ByteSet | Literal | Concat | Alt | Repeat | And | Not | Permute | Rule | Special

LEAVES = (Literal, ByteSet, Rule, Special)

EPSILON = Literal(b"")
NOTHING = Alt(())


@dataclass(frozen=True, slots=True)
class Grammar:
    """A language: `start`, with `rules` for the names it refers to."""

    start: Expr
    rules: Mapping[str, Expr] = field(default_factory=lambda: MappingProxyType({}))


def parts(node: Expr) -> tuple[Expr, ...]:
    """The direct parts of a node, of a Permute the separator first; a leaf has none."""
    kind = type(node)
    if kind is Concat or kind is Alt or kind is And:
        return node.items  # type: ignore[union-attr]
    if kind is Repeat or kind is Not:
        return (node.item,)  # type: ignore[union-attr]
    if kind is Permute:
        return (node.separator, *(part.item for part in node.parts))  # type: ignore[union-attr]
    if kind in LEAVES:
        return ()
    # A node unknown here could hide a rule.
    raise InternalError(f"{kind.__name__} is not a node of a grammar")


def with_parts(node: Expr, others: Sequence[Expr]) -> Expr:
    """The node over other parts, in the order of `parts`."""
    if isinstance(node, (Concat, Alt, And)):
        return type(node)(tuple(others))
    if isinstance(node, Repeat):
        return Repeat(others[0], node.lo, node.hi)
    if isinstance(node, Not):
        return Not(others[0])
    if isinstance(node, Permute):
        separator, *items = others
        members = [replace(p, item=item) for p, item in zip(node.parts, items, strict=True)]
        return replace(node, separator=separator, parts=tuple(members))
    return node


def literal(text: str) -> Literal:
    """Exactly this text."""
    return Literal(text.encode("utf-8"))


def alt(items: Iterable[Expr]) -> Expr:
    """Alternation; a single item is itself."""
    every = tuple(items)
    return every[0] if len(every) == 1 else Alt(every)


def optional(item: Expr) -> Expr:
    return Repeat(item, 0, 1)


def star(item: Expr) -> Expr:
    return Repeat(item, 0, None)


# ---- code points ------------------------------------------------------------------------------

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint, inclusive code point ranges."""

SURROGATES = (0xD800, 0xDFFF)  # not Unicode scalar values: no UTF-8 text holds one
ANY_CHAR: Ranges = ((0, 0xD7FF), (0xE000, MAX_CODE_POINT))


def normalise(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort and merge ranges, dropping surrogates.

    >>> normalise([(5, 9), (1, 3), (4, 6)])
    ((1, 9),)
    """
    merged: list[tuple[int, int]] = []
    for lo, hi in sorted(ranges):
        if lo > hi:
            continue
        if merged and lo <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(hi, merged[-1][1]))
        else:
            merged.append((lo, hi))
    cut: list[tuple[int, int]] = []
    for lo, hi in merged:
        if hi < SURROGATES[0] or lo > SURROGATES[1]:
            cut.append((lo, hi))
            continue
        if lo < SURROGATES[0]:
            cut.append((lo, SURROGATES[0] - 1))
        if hi > SURROGATES[1]:
            cut.append((SURROGATES[1] + 1, hi))
    return tuple(cut)


def complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Every Unicode scalar value not in `ranges`.

    >>> complement([(0, 0x7F)])
    ((128, 55295), (57344, 1114111))
    """
    out: list[tuple[int, int]] = []
    start = 0
    for lo, hi in normalise(ranges):
        if lo > start:
            out.append((start, lo - 1))
        start = hi + 1
    out.append((start, MAX_CODE_POINT))
    return normalise(out)


def chars(ranges: Iterable[tuple[int, int]]) -> Expr:
    """One character of these code points, as UTF-8 bytes.

    >>> chars([(0x61, 0x63)]) == byte_range(0x61, 0x63)
    True
    """
    single = 0
    sequences: list[Expr] = []
    for lo, hi in normalise(ranges):
        for parts in _utf8_sequences(lo, hi):
            if len(parts) == 1:
                single |= byte_range(*parts[0]).mask
            else:
                sequences.append(Concat(tuple(byte_range(*part) for part in parts)))
    if single:
        sequences.insert(0, ByteSet(single))
    return alt(sequences)


def byte_range(lo: int, hi: int) -> ByteSet:
    return ByteSet(((1 << (hi + 1)) - 1) & ~((1 << lo) - 1))


def _utf8_sequences(lo: int, hi: int) -> Iterable[list[tuple[int, int]]]:
    """Split [lo, hi] into runs whose UTF-8 forms are a product of byte ranges.

    The method of RE2 and Rust's utf8-ranges: cut at encoded-length limits, then wherever a
    continuation byte would not cover its whole 6-bit range.
    """
    stack = [(lo, hi)]
    while stack:
        lo, hi = stack.pop()
        if lo > hi:
            continue
        for limit in (0x7F, 0x7FF, 0xFFFF):
            if lo <= limit < hi:
                stack += [(limit + 1, hi), (lo, limit)]
                break
        else:
            cut = _cut_inside(lo, hi)
            if cut is not None:
                stack += [(cut, hi), (lo, cut - 1)]
                continue
            first, last = chr(lo).encode(), chr(hi).encode()
            yield list(zip(first, last, strict=True))


def _cut_inside(lo: int, hi: int) -> int | None:
    """Where to cut [lo, hi] (one encoded length) so that each part is a product; None if it is."""
    if hi <= 0x7F:
        return None
    for i in range(1, len(chr(hi).encode())):
        low_bits = (1 << (6 * i)) - 1
        if lo & ~low_bits != hi & ~low_bits:
            if lo & low_bits:
                return (lo | low_bits) + 1
            if hi & low_bits != low_bits:
                return hi & ~low_bits
    return None
