"""The KV books under any order of attach, extend, publish, truncate and detach."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from support.fuzz import tries

from sestina.backend.cache.kv_cache import KVCache, KVHandle
from sestina.lang.errors import InternalError

NUM_SLOTS = 40
tokens_of_any_kind = st.lists(st.integers(0, 2), min_size=1, max_size=24)


class Line:
    """A sequence as the test sees it: what each of its slots was written with."""

    def __init__(self, tokens: list[int], handle: KVHandle) -> None:
        self.tokens = np.array(tokens, np.int32)
        self.handle = handle


class KVCacheMachine(RuleBasedStateMachine):
    """`written[slot]` is the prefix whose last token's K/V the slot holds: what a model would put
    there. Reading a sequence back must give its own prefixes, whoever computed them."""

    lines = Bundle("lines")

    def __init__(self) -> None:
        super().__init__()
        self.cache = KVCache(num_slots=NUM_SLOTS, num_rows=4, max_len=32)
        self.written: dict[int, tuple[int, ...]] = {}
        self.attached: list[Line] = []

    def read_back(self, line: Line) -> None:
        slots = self.cache.table.read(line.handle.row, 0, line.handle.computed_len)
        for i, slot in enumerate(slots.tolist()):
            assert self.written[slot] == tuple(line.tokens[: i + 1].tolist())

    @rule(target=lines, tokens=tokens_of_any_kind)
    def attach(self, tokens: list[int]) -> Line | Iterable[Line]:
        array = np.array(tokens, np.int32)
        handle = self.cache.attach(array, "", len(tokens) - 1)
        if handle is None:
            assert len(self.attached) == 4
            return multiple()
        line = Line(tokens, handle)
        self.attached.append(line)
        self.read_back(line)
        return line

    @rule(line=lines, count=st.integers(1, 8))
    def extend(self, line: Line, count: int) -> None:
        start = line.handle.computed_len
        count = min(count, len(line.tokens) - start)
        if count == 0:
            return
        available = self.cache.num_available
        slots = self.cache.extend(line.handle, count)
        if slots is None:
            assert available < count
            return
        for i, slot in enumerate(slots.tolist()):
            self.written[slot] = tuple(line.tokens[: start + i + 1].tolist())

    @rule(counts=st.lists(st.integers(1, 20), min_size=4, max_size=4))
    def extend_all(self, counts: list[int]) -> None:
        """Every line at once: as many `extend`, or nothing."""
        wanted = [
            (line, min(count, len(line.tokens) - line.handle.computed_len))
            for line, count in zip(self.attached, counts, strict=False)
        ]
        wanted = [(line, count) for line, count in wanted if count]
        starts = [line.handle.computed_len for line, _ in wanted]
        available = self.cache.num_available
        slots = self.cache.extend_rows(
            np.array([line.handle.row for line, _ in wanted], np.int64),
            np.array([count for _, count in wanted], np.int64),
        )
        if slots is None:
            assert available < sum(count for _, count in wanted)
            assert starts == [line.handle.computed_len for line, _ in wanted]
            return
        given = iter(slots.tolist())
        for (line, count), start in zip(wanted, starts, strict=True):
            assert line.handle.computed_len == start + count
            for i in range(start, start + count):
                self.written[next(given)] = tuple(line.tokens[: i + 1].tolist())

    @rule(line=lines)
    def publish(self, line: Line) -> None:
        self.cache.publish(line.handle, line.tokens)
        assert line.handle.num_held == 0

    @rule(line=lines, length=st.integers(0, 16))
    def truncate(self, line: Line, length: int) -> None:
        self.cache.truncate(line.handle, line.tokens, length)
        assert line.handle.computed_len <= max(length, 0) or length > len(line.tokens)

    @rule(line=consumes(lines))
    def detach(self, line: Line) -> None:
        self.read_back(line)
        self.cache.detach(line.handle, line.tokens)
        self.attached.remove(line)

    @invariant()
    def books_balance(self) -> None:
        self.cache.check(line.handle for line in self.attached)
        for line in self.attached:
            self.read_back(line)


TestKVCache = KVCacheMachine.TestCase
TestKVCache.settings = tries(60, steps=30)


def test_a_missing_handle_is_noticed() -> None:
    cache = KVCache(num_slots=8, num_rows=2, max_len=8)
    handle = cache.attach(np.arange(4, dtype=np.int32), "", 3)
    assert handle is not None
    cache.extend(handle, 3)
    with pytest.raises(InternalError, match=r"5 free \+ 0 cached \+ 0 held != 8"):
        cache.check([])
