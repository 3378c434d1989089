"""Scheduling decisions, as pure functions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sestina.backend.scheduler.policy import (
    MIN_SHARED,
    SHORT_RUN,
    common_prefix_len,
    plan_chunks,
    should_wait,
)

ids = st.lists(st.integers(0, 3), max_size=40)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32)


@given(ids, ids)
def test_common_prefix_is_what_a_loop_counts(a: list[int], b: list[int]) -> None:
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    assert common_prefix_len(array(a), array(b)) == count


@given(st.lists(st.integers(1, 2000), max_size=30), st.integers(1, 1024))
def test_chunks_never_exceed_what_is_pending_and_always_get_on(
    pending: list[int], budget: int
) -> None:
    chunks = plan_chunks(pending, budget)
    assert all(0 <= chunk <= n for chunk, n in zip(chunks, pending, strict=True))
    if pending:
        assert sum(chunks) > 0


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=30), st.integers(1, 1024))
def test_decodes_run_whole_and_the_first_prefill_is_never_starved(
    pending: list[int], budget: int
) -> None:
    chunks = plan_chunks(pending, budget)
    short = [i for i, n in enumerate(pending) if n <= SHORT_RUN]
    assert all(chunks[i] == pending[i] for i in short)
    prefills = [i for i, n in enumerate(pending) if n > SHORT_RUN]
    if prefills:
        assert chunks[prefills[0]] > 0
    extra = sum(chunks) - budget
    assert extra <= sum(pending[i] for i in short) or extra <= 0


def test_a_sequence_waits_for_a_prefill_of_its_own_prefix() -> None:
    prefix = list(range(100, 100 + 3 * MIN_SHARED))
    running = [array([*prefix, 1, 2])]
    assert should_wait(array([*prefix, 7]), 0, running)
    assert not should_wait(array([*prefix, 7]), len(prefix), running), "the prefix is cached"
    assert not should_wait(array([9, *prefix]), 0, running), "nothing is shared"
    assert not should_wait(array(prefix), 0, [])
