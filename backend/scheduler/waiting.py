"""The queue of waiting sequences, sorted in the ways that admission asks for them."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import NamedTuple

from sestina.backend.scheduler import policy
from sestina.backend.scheduler.prefix_index import Key, PrefixIndex
from sestina.backend.scheduler.sequence import Sequence


class _Place(NamedTuple):
    group: policy.Rank
    key: Key | None


class Waiting:
    """Waiting sequences: by arrival, by rank and arrival, and by their tokens.

    `add` and `remove` cost O(log n) comparisons and a few short moves of memory.
    """

    def __init__(self, name: policy.PolicyName) -> None:
        self._name: policy.PolicyName = name
        self._by_order: list[Sequence] = []
        self._groups: dict[policy.Rank, list[Sequence]] = {}
        self._index = None if name == "fcfs" else PrefixIndex()
        self._places: dict[Sequence, _Place] = {}

    def __len__(self) -> int:
        return len(self._by_order)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._by_order)

    def __contains__(self, sequence: object) -> bool:
        return sequence in self._places

    @property
    def oldest(self) -> Sequence:
        return self._by_order[0]

    def add(self, sequence: Sequence) -> None:
        bisect.insort(self._by_order, sequence, key=_order)
        key = None if self._index is None else self._index.add(sequence, sequence.match_limit)
        self._places[sequence] = _Place(self._file(sequence), key)

    def remove(self, sequence: Sequence) -> None:
        place = self._places.pop(sequence)
        _take_out(self._by_order, sequence)
        self._unfile(sequence, place.group)
        if self._index is not None and place.key is not None:
            self._index.remove(place.key)

    def in_order(self) -> Iterator[Sequence]:
        """Best rank first, by arrival inside one.

        A rank is that of the sequence's program now: one whose program was served meanwhile moves.
        The queue may lose members while this runs.
        """
        seen: set[policy.Rank] = set()
        while True:
            group = min((g for g in self._groups if g not in seen), default=None)
            if group is None:
                return
            seen.add(group)
            for sequence in tuple(self._groups[group]):
                place = self._places.get(sequence)
                if place is None:
                    continue  # removed meanwhile
                if self._rank_of(sequence) == group:
                    yield sequence
                    continue
                # It comes later, in its new rank: levels only rise.
                self._unfile(sequence, group)
                self._places[sequence] = _Place(self._file(sequence), place.key)

    def sharing_with(self, sequence: Sequence) -> Iterator[Sequence]:
        """The waiting sequences, two at most, that share most with this one."""
        if self._index is not None:
            yield from self._index.neighbours(sequence.namespace, sequence.tokens)

    def _rank_of(self, sequence: Sequence) -> policy.Rank:
        return policy.rank(*sequence.account.standing, self._name)

    def _file(self, sequence: Sequence) -> policy.Rank:
        group = self._rank_of(sequence)
        bisect.insort(self._groups.setdefault(group, []), sequence, key=_order)
        return group

    def _unfile(self, sequence: Sequence, group: policy.Rank) -> None:
        members = self._groups[group]
        _take_out(members, sequence)
        if not members:
            del self._groups[group]


def _order(sequence: Sequence) -> int:
    return sequence.order


def _take_out(members: list[Sequence], sequence: Sequence) -> None:
    del members[bisect.bisect_left(members, sequence.order, key=_order)]
