"""Property names by the patterns they match: a partition, as far as nothing shows it empty."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import NamedTuple

from sestina.lang import regex_syntax
from sestina.lang.errors import UnsatisfiableConstraint
from sestina.lang.expr import either, is_nothing, seq
from sestina.lang.expr_match import matches
from sestina.lang.grammar_ir import (
    NOTHING,
    Alt,
    And,
    ByteSet,
    Concat,
    Expr,
    Literal,
    Not,
    Repeat,
)
from sestina.lang.json_schema.string import QUOTE, any_key_except, spelled

MAX_CLASSES = 32
_MAX_LEADING = 16


class KeyClass(NamedTuple):
    """The names that match some of several groups of patterns, and none of the others.

    matched, others: the numbers of the groups, in order.
    """

    matched: tuple[int, ...]
    others: tuple[int, ...]


@functools.lru_cache(maxsize=1024)
def inside(pattern: str, *, widest: bool = False) -> Expr:
    """The insides of canonically spelled strings in which `pattern` matches somewhere."""
    try:
        return regex_syntax.lower(
            pattern,
            dialect=regex_syntax.Dialect.ECMA,
            search=True,
            spell=spelled,
            widest=widest,
        )
    except UnsatisfiableConstraint:
        return NOTHING


def is_match(pattern: str, text: str, *, widest: bool = False) -> bool:
    """Whether `pattern` matches in `text` for every engine; `widest`: for any."""
    ask = _is_match if len(text) <= _MAX_NAME_LEN else _is_match.__wrapped__
    return ask(pattern, text, widest)


_MAX_NAME_LEN = 100  # of texts that are remembered


@functools.lru_cache(maxsize=4096)
def _is_match(pattern: str, text: str, widest: bool) -> bool:
    return matches(inside(pattern, widest=widest), canonical(text)[1:-1])


@functools.lru_cache(maxsize=4096)
def never_both(pattern: str, other: str) -> bool:
    """Whether it is plain that no text matches both patterns: by their first characters."""
    a, b = (leading(seq(inside(p, widest=True), QUOTE)) for p in (pattern, other))
    return _are_apart([a], [b])


def canonical(text: str) -> bytes:
    """The canonical spelling of a string, with its quotes."""
    return json.dumps(text, ensure_ascii=False).encode()


def partition(groups: Sequence[Sequence[str]]) -> list[KeyClass] | None:
    """All names, by the groups one of whose patterns they match; None if there are too many.

    A name on which engines disagree about a pattern is in no class.
    """
    found = [KeyClass((), ())]
    heads = [[leading(seq(inside(p), QUOTE)) for p in group] for group in groups]
    for i in range(len(groups)):
        split: list[KeyClass] = []
        for yes, no in found:
            if any(_are_apart(heads[i], heads[j]) for j in yes):
                split.append(KeyClass(yes, no))
            else:
                split += [KeyClass((*yes, i), no), KeyClass(yes, (*no, i))]
        found = split
        if len(found) > MAX_CLASSES:
            return None
    return found


def names_of(one: KeyClass, groups: Sequence[Sequence[str]], excluded: frozenset[str]) -> Expr:
    """The names of a class, canonically spelled, but for those `excluded`."""
    yes, no = one
    wanted = [either(seq(QUOTE, inside(p), QUOTE) for p in groups[i]) for i in yes]
    unwanted = [
        Not(either(seq(QUOTE, inside(p, widest=True), QUOTE) for p in groups[i])) for i in no
    ]
    if any(map(is_nothing, wanted)):
        return NOTHING
    if not wanted:
        every = any_key_except(excluded)
        return And((every, *unwanted)) if unwanted else every
    met = frozenset(
        name for name in excluded if all(any(is_match(p, name) for p in groups[i]) for i in yes)
    )
    if met:
        unwanted.append(Not(either(Literal(canonical(name)) for name in sorted(met))))
    parts = (*wanted, *unwanted)
    return parts[0] if len(parts) == 1 else And(parts)


def _are_apart(a: list[list[int]], b: list[list[int]]) -> bool:
    """Whether no text begins both as one of `a` and as one of `b`."""
    return all(any(not x & y for x, y in zip(p, q, strict=False)) for p in a for q in b)


def leading(expr: Expr) -> list[int]:
    """Which bytes can stand at each of the first places, as far as that is plain to see."""
    found: list[int] = []
    pending = [expr]
    while pending:
        item = pending.pop()
        if isinstance(item, Concat):
            pending += reversed(item.items)
        elif isinstance(item, Literal):
            found += [1 << byte for byte in item.data]
        elif isinstance(item, ByteSet):
            found.append(item.mask)
        elif isinstance(item, And) and item.items:
            pending.append(max(item.items, key=lambda one: len(leading(one))))
        else:
            first = _first(item)
            if first is not None:
                found.append(first)
            break
    return found[:_MAX_LEADING]


def _first(expr: Expr) -> int | None:
    """The bytes a text of this language can begin with; None if it may be empty or is not plain."""
    if isinstance(expr, Literal):
        return 1 << expr.data[0] if expr.data else None
    if isinstance(expr, ByteSet):
        return expr.mask
    if isinstance(expr, Concat):
        return _first(expr.items[0])
    if isinstance(expr, Repeat):
        return _first(expr.item) if expr.lo else None
    if not isinstance(expr, Alt):
        return None
    mask = 0
    for item in expr.items:
        first = _first(item)
        if first is None:
            return None
        mask |= first
    return mask
