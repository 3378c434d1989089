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
        if type(item) is Concat and len(item.items) <= _LONG:
            parts = item.items
            if parts and type(parts[0]) is Literal:  # may join the literal before it
                _append(flat, parts[0])
                parts = parts[1:]
            flat += parts
        elif type(item) is Alt and not item.items:
            return NOTHING
        else:
            _append(flat, item)
    if len(flat) == 1:
        return flat[0]
    return Concat(tuple(flat)) if flat else EPSILON


# Copying a sequence of more parts into each longer one would cost more than a nested node does.
_LONG = 32


def _append(flat: list[Expr], part: Expr) -> None:
    """Add a part to a flat sequence, joined with a literal before it if it is one."""
    if type(part) is not Literal:
        flat.append(part)
    elif part.data:
        last = flat[-1] if flat else None
        if type(last) is Literal:
            flat[-1] = Literal(last.data + part.data)
        else:
            flat.append(part)


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
    """
    level = [
        (expr, maybe(seq(comma, expr)) if may_skip else seq(comma, expr), may_skip)
        for expr, may_skip in members
    ]
    while len(level) > 1:
        paired = []
        for (first_a, rest_a, skip_a), (first_b, rest_b, skip_b) in zip(
            level[::2], level[1::2], strict=False
        ):
            first = either([seq(first_a, rest_b), first_b if skip_a else NOTHING])
            paired.append((first, seq(rest_a, rest_b), skip_a and skip_b))
        level = paired + level[len(paired) * 2 :]
    return (level[0][0], level[0][2]) if level else (NOTHING, True)
