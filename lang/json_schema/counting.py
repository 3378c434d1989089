"""Members of an object in order, some of which are counted."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.expr import either, is_nothing, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, Expr

MAX_COUNTED_MEMBERS = 100
MAX_COUNTED_STATES = 4000


class Member(NamedTuple):
    """One property: its text without comma, and whether it may be left out."""

    name: str
    text: Expr
    may_skip: bool


class AtLeast(NamedTuple):
    """So many of the properties not in `exempt` must be present."""

    low: int
    exempt: frozenset[str] = frozenset()


def counted(
    members: Sequence[Member],
    extra: Expr,
    comma: Expr,
    least: Sequence[AtLeast],
    most: int | None,
) -> tuple[Expr, bool]:
    """The non-empty sequences of members, then extras, that meet the counts; is the empty one in?

    Extras may repeat a name, so that together they count for one towards `least` (sound, and
    complete where one is enough), and each towards `most`. Size and cost: members x states.
    """
    size = len(members) + 1
    for one in least:
        size *= one.low + 1
    if len(members) > MAX_COUNTED_MEMBERS or size * (min(most or 0, len(members)) + 1) > (
        MAX_COUNTED_STATES
    ):
        raise ConstraintLimitExceeded("too many properties to count")
    lows = tuple(one.low for one in least)

    @functools.cache
    def after(i: int, missing: tuple[int, ...], room: int | None, is_first: bool) -> Expr:
        """What may follow when members from i on are left."""
        if room is not None and room < 0:
            return NOTHING
        if i == len(members):
            return ending(missing, room, is_first)
        name, text, may_skip = members[i]
        fewer = tuple(
            m if name in one.exempt else max(m - 1, 0)
            for m, one in zip(missing, least, strict=True)
        )
        rest = after(i + 1, fewer, None if room is None else room - 1, False)
        present = seq(EPSILON if is_first else comma, text, rest)
        if not may_skip:
            return present
        return either([present, after(i + 1, missing, room, is_first)])

    def ending(missing: tuple[int, ...], room: int | None, is_first: bool) -> Expr:
        end = EPSILON if not is_first and not any(missing) else NOTHING
        if is_nothing(extra) or room == 0 or max(missing, default=0) > 1:
            return end
        pair = seq(comma, extra)
        more = times(pair, 0, None if room is None else room - 1)
        return either([end, seq(extra if is_first else pair, more)])

    body = after(0, lows, most, True)
    may_be_empty = not any(lows) and all(member.may_skip for member in members)
    return body, may_be_empty
