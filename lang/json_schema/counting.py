"""Members of an object in order, some of which are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple

from sestina.lang.errors import ConstraintLimitExceeded
from sestina.lang.expr import either, is_nothing, maybe, seq
from sestina.lang.grammar_ir import NOTHING, Expr
from sestina.lang.json_schema.fuel import Fuel
from sestina.lang.json_schema.layout import Layout

MAX_COUNTED_MEMBERS = 200  # as many levels has the expression


class Member(NamedTuple):
    """One property: its text without comma, and whether it may be left out."""

    name: str
    text: Expr
    may_skip: bool


class AtLeast(NamedTuple):
    """So many of the properties not in `exempt` must be present."""

    low: int
    exempt: frozenset[str] = frozenset()


class _State(NamedTuple):
    """missing: how many more each count needs. room: how many more may come (None: all). is_first:
    whether nothing stands yet. What must come in any case is in no count."""

    missing: tuple[int, ...]
    room: int | None
    is_first: bool


Tail = Callable[[int, "int | None"], tuple[Expr, bool]]
"""What may follow the members: non-empty texts, and whether nothing may. It is told how many parts
are still missing, and the room left."""


def counted(
    members: Sequence[Member],
    tail: Tail,
    layout: Layout,
    least: Sequence[AtLeast],
    most: int | None,
) -> Expr:
    """The non-empty sequences of members, then a tail, that meet the counts.

    `least` and `most` are about members that may be left out: the others are taken off before.
    Size and cost: members x states, which burn fuel.
    """
    counting, comma = _Counting(members, tail, least), layout.comma
    start = _State(tuple(one.low for one in least), most, True)
    levels = counting.reachable(start, layout.fuel)
    after = {state: counting.ending(state, comma) for state in levels[-1]}
    for i in range(len(members) - 1, -1, -1):
        text, following = members[i].text, after
        pair, after = seq(comma, text), {}
        for state in levels[i]:
            present, absent = counting.steps(i, state)
            rest = following.get(present, NOTHING) if present else NOTHING
            taken = seq(text if state.is_first else pair, rest)
            after[state] = either([taken, following.get(absent, NOTHING) if absent else NOTHING])
    return after[start]


class _Counting:
    def __init__(self, members: Sequence[Member], tail: Tail, least: Sequence[AtLeast]) -> None:
        if len(members) > MAX_COUNTED_MEMBERS:
            raise ConstraintLimitExceeded("too many properties to count", keyword="properties")
        self.members, self.tail, self.least = members, tail, least
        most = max((one.low for one in least), default=0)
        can_follow = (not is_nothing(tail(count, None)[0]) for count in range(1, max(most, 1) + 1))
        self.num_extras = sum(takewhile(bool, can_follow))
        self.to_come = [0] * (len(members) + 1)  # optional members from i on
        for i in range(len(members) - 1, -1, -1):
            self.to_come[i] = self.to_come[i + 1] + members[i].may_skip

    def reachable(self, start: _State, fuel: Fuel) -> list[list[_State]]:
        """The states before each member and after the last."""
        levels = [[start]]
        for i in range(len(self.members)):
            steps = (step for state in levels[-1] for step in self.steps(i, state))
            levels.append(list(dict.fromkeys(step for step in steps if step)))
            fuel.burn(2 * len(levels[-1]), "properties")
        return levels

    def steps(self, i: int, state: _State) -> tuple[_State | None, _State | None]:
        """What follows if member i is present, and if it is absent; None where it cannot be."""
        member = self.members[i]
        if not member.may_skip:
            return self.pruned(i + 1, state._replace(is_first=False)), None
        absent = self.pruned(i + 1, state)
        if state.room == 0:
            return None, absent
        missing = tuple(
            m if member.name in one.exempt else max(m - 1, 0)
            for m, one in zip(state.missing, self.least, strict=True)
        )
        room = None if state.room is None else state.room - 1
        return self.pruned(i + 1, _State(missing, room, False)), absent

    def pruned(self, i: int, state: _State) -> _State | None:
        """The state without a bound that cannot be met any more; None if another one must be."""
        if max(state.missing, default=0) > self.to_come[i] + self.num_extras:
            return None
        if state.room is not None and state.room >= self.to_come[i] and not self.num_extras:
            return state._replace(room=None)
        return state

    def ending(self, state: _State, comma: Expr) -> Expr:
        """What may come after the last member."""
        missing = max(state.missing, default=0)
        more, may_be_empty = self.tail(missing, state.room)
        if state.is_first:
            return more
        more = seq(comma, more)
        return maybe(more) if may_be_empty else more
