"""Smart constructors over the constraint IR: the empty language stays visible, trees stay flat.

`NOTHING` in a sequence makes the sequence NOTHING, in an alternation it disappears; so whoever
lowers a source sees at once whether a part can match any text at all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from sestina.lang.grammar_ir import (
    EPSILON,
    NOTHING,
    Alt,
    ByteSet,
    Concat,
    Expr,
    Literal,
    Ranges,
    Repeat,
    chars,
    literal,
)


def is_nothing(expr: Expr) -> bool:
    """Whether this is NOTHING itself (And and Not are not looked into)."""
    return type(expr) is Alt and not expr.items


@functools.lru_cache(maxsize=1024)
def char(ranges: Ranges) -> Expr:
    """One character of a set as UTF-8: `grammar_ir.chars`, shared, and a literal where it is one.

    >>> char(((0x61, 0x61),))
    Literal(data=b'a')
    """
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return literal(chr(ranges[0][0]))
    return chars(ranges)


def seq(*items: Expr) -> Expr:
    """One after the other: nested sequences flattened, but long ones; neighbouring literals joined.

    >>> seq(Literal(b"a"), seq(Literal(b"b"), EPSILON))
    Literal(data=b'ab')
    """
    flat: list[Expr] = []
    for item in items:
        kind = type(item)
        if kind is Concat and len(item.items) <= _LONG:  # type: ignore[union-attr]
            parts = item.items  # type: ignore[union-attr]
            if parts and type(parts[0]) is Literal:  # may join the literal before it
                _append(flat, parts[0])
                parts = parts[1:]
            flat += parts
        elif kind is Literal:
            _append(flat, item)  # type: ignore[arg-type]
        elif kind is Alt and not item.items:  # type: ignore[union-attr]
            return NOTHING
        else:
            flat.append(item)
    if len(flat) == 1:
        return flat[0]
    return Concat(tuple(flat)) if flat else EPSILON


# Copying a sequence of more parts into each longer one would cost more than a nested node does.
_LONG = 32


def _append(flat: list[Expr], part: Literal) -> None:
    """Add a literal to a flat sequence, joined with one before it."""
    if not flat or type(flat[-1]) is not Literal:
        if part.data:
            flat.append(part)
    elif part.data:
        flat[-1] = Literal(flat[-1].data + part.data)


def either(items: Iterable[Expr]) -> Expr:
    """Any of them: nested alternations flattened, NOTHING dropped, byte sets merged."""
    mask = 0
    flat: list[Expr] = []
    for item in items:
        for part in item.items if type(item) is Alt else (item,):
            if type(part) is ByteSet:
                mask |= part.mask
            elif type(part) is Literal and len(part.data) == 1:
                mask |= 1 << part.data[0]
            else:
                flat.append(part)
    if mask:
        flat.insert(0, ByteSet(mask))
    return flat[0] if len(flat) == 1 else Alt(tuple(flat))


def times(item: Expr, lo: int, hi: int | None) -> Expr:
    """lo to hi copies; an item that matches nothing leaves only the empty text, if lo is 0.

    >>> times(NOTHING, 0, None) == EPSILON
    True
    """
    if (hi is not None and hi < lo) or (is_nothing(item) and lo > 0):
        return NOTHING
    if hi == 0 or is_nothing(item):
        return EPSILON
    return item if (lo, hi) == (1, 1) else Repeat(item, lo, hi)


def maybe(item: Expr) -> Expr:
    return times(item, 0, 1)


def joined(members: Sequence[tuple[Expr, bool]], comma: Expr) -> tuple[Expr, bool]:
    """Members in order with `comma` between those present; each is (expr, may be left out).

    Returns the non-empty sequences, and whether the empty one is allowed too. Members are combined
    pairwise in a balanced tree, so the result has depth O(log n) and size O(n log n): for a
    left half A and a right half B, with `first` the texts that begin without a comma and `rest`
    those where a comma precedes every member,

        first(AB) = first(A) rest(B) | first(B) if A may be left out
        rest(AB)  = rest(A) rest(B)

    Of the beginning `rest` is not needed, and of what comes after a member that is always there
    not `first`; NOTHING stands in its place.
    """
    level: list[tuple[Expr, Expr, bool]] = []
    may_begin = True
    for expr, may_skip in members:
        rest: Expr = NOTHING
        if level:
            rest = seq(comma, expr)
            rest = maybe(rest) if may_skip else rest
        level.append((expr if may_begin else NOTHING, rest, may_skip))
        may_begin = may_begin and may_skip
    while len(level) > 1:
        paired = []
        for (first_a, rest_a, skip_a), (first_b, rest_b, skip_b) in zip(
            level[::2], level[1::2], strict=False
        ):
            first = either([seq(first_a, rest_b), first_b if skip_a else NOTHING])
            paired.append((first, seq(rest_a, rest_b), skip_a and skip_b))
        level = paired + level[len(paired) * 2 :]
    return (level[0][0], level[0][2]) if level else (NOTHING, True)
