"""Free text as a language: any text without certain texts in it, up to the first of some markers.

All of it is `And` and `Not` over bytes: the text before a marker `t` of `T` is

    any* & ~(any* T any*) & ~(any* P)    P = {x : xy in T, x and y not empty, y begins t}

since `P` is what would let another marker end within `t`. UTF-8 synchronises itself, so an
occurrence of the bytes is an occurrence of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sestina.lang import grammar_ir as ir
from sestina.lang.expr import either, is_nothing, seq, times

_CHAR = ir.chars(ir.ANY_CHAR)
_BYTES = ir.star(ir.byte_range(0, 255))

Marker = ir.Literal | ir.Special
"""A text, or a control token, which is no text and so never in the free text."""


def until(
    found: Mapping[Marker, ir.Expr], excludes: Iterable[str], max_chars: int | None = None
) -> ir.Expr:
    """Free text, the first marker of `found` in it, and what follows that one.

    None of `excludes` occurs in the free text, nor ends within the marker; that one may be among
    them. Cost: the square of the length of each of the texts.
    """
    texts = [text.encode() for text in excludes]
    before: dict[bytes, list[bytes]] = {}
    for text in texts:
        for i in range(1, len(text)):
            before.setdefault(text[i:], []).append(text[:i])
    groups: dict[frozenset[bytes], list[ir.Expr]] = {}
    for marker, after in found.items():
        data = marker.data if isinstance(marker, ir.Literal) else b""
        overlaps = {x for size in range(1, len(data) + 1) for x in before.get(data[:size], ())}
        groups.setdefault(frozenset(overlaps), []).append(seq(marker, after))
    return either(
        [
            seq(_without(texts, sorted(overlaps), max_chars), sharing_beginnings(items))
            for overlaps, items in groups.items()
        ]
    )


def free(excludes: Iterable[str], max_chars: int | None = None) -> ir.Expr:
    """Any text of at most `max_chars` characters in which none of `excludes` occurs."""
    return _without([text.encode() for text in excludes], [], max_chars)


def _without(inside: Sequence[bytes], last: Sequence[bytes], max_chars: int | None) -> ir.Expr:
    """Free text that has nothing of `inside` in it and ends with nothing of `last`."""
    anywhere = seq(_BYTES, either(map(ir.Literal, inside)), _BYTES)
    refused = either([anywhere, seq(_BYTES, either(map(ir.Literal, last)))])
    text = times(_CHAR, 0, max_chars)
    return text if is_nothing(refused) else ir.And((text, ir.Not(refused)))


def sharing_beginnings(items: Sequence[ir.Expr], depth: int = 16) -> ir.Expr:
    """Any of the items; where literals begin with the same bytes, these are there once.

    So an automaton drops all but a few of a thousand tools with each byte of a name.
    """
    found: list[ir.Expr] = []
    groups: dict[int, list[tuple[bytes, ir.Expr]]] = {}
    for item in items:
        first, *others = item.items if isinstance(item, ir.Concat) else (item,)
        if depth and isinstance(first, ir.Literal) and first.data:
            groups.setdefault(first.data[0], []).append((first.data, seq(*others)))
        else:
            found.append(item)
    for members in groups.values():
        shared = _common_prefix([data for data, _ in members])
        rests = [seq(ir.Literal(data[len(shared) :]), rest) for data, rest in members]
        rest = sharing_beginnings(rests, depth - 1) if len(rests) > 1 else rests[0]
        found.append(seq(ir.Literal(shared), rest))
    return either(found)


def _common_prefix(texts: list[bytes]) -> bytes:
    low, high = min(texts), max(texts)
    size = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:size]
