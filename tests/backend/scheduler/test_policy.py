"""Scheduling decisions, as pure functions."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sestina.backend.cache.radix_node import common_prefix_len
from sestina.backend.scheduler.policy import (
    MIN_SHARED,
    POLICIES,
    SHORT_RUN,
    Candidate,
    PolicyName,
    Rank,
    plan_chunks,
    service_level,
    should_displace,
    should_wait,
    urgency,
)
from sestina.backend.scheduler.prefix_index import PrefixIndex
from sestina.backend.scheduler.sequence import Sequence

small = st.integers(0, 3)
ids = st.lists(small, max_size=40)
ranks = st.tuples(st.integers(-2, 2), small)
candidates = st.builds(Candidate, st.integers(-2, 2), small, small, st.integers(0, 100))


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32)


def shared_len(a: list[int], b: list[int]) -> int:
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    return count


@given(ids, ids)
def test_common_prefix_is_what_a_loop_counts(a: list[int], b: list[int]) -> None:
    assert common_prefix_len(array(a), array(b)) == shared_len(a, b)


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


@given(st.lists(st.tuples(st.integers(17, 2000), ranks), min_size=1), st.integers(8, 1024))
def test_the_oldest_prefill_gets_a_quarter_and_the_rest_goes_by_rank(
    sequences: list[tuple[int, Rank]], budget: int
) -> None:
    pending = [n for n, _ in sequences]
    chunks = plan_chunks(pending, budget, lambda i: sequences[i][1])
    assert sum(chunks) == min(budget, sum(pending))
    assert chunks[0] >= min(pending[0], budget // 4)
    for i, j in itertools.permutations(range(1, len(sequences)), 2):
        if (sequences[i][1], i) < (sequences[j][1], j) and chunks[j]:
            assert chunks[i] == pending[i], "a better rank, or an older one, goes first"


def test_waits_for_a_prefill_only_where_that_saves_enough() -> None:
    assert should_wait(MIN_SHARED, 0)
    assert not should_wait(MIN_SHARED - 1, 0)
    assert not should_wait(10 * MIN_SHARED, 10 * MIN_SHARED), "the prefix is cached"


@given(st.lists(candidates, unique_by=lambda c: c.order), st.sampled_from(POLICIES))
def test_urgency_ranks_by_what_the_policy_names(found: list[Candidate], name: PolicyName) -> None:
    ordered = sorted(found, key=lambda c: urgency(c, name))
    for first, second in itertools.pairwise(ordered):
        assert first.priority >= second.priority
        if first.priority != second.priority:
            continue
        if name == "program":
            assert first.level <= second.level
        if name != "fcfs" and (name == "prefix" or first.level == second.level):
            assert first.cached_len >= second.cached_len
        if name == "fcfs":
            assert first.order < second.order


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_levels_never_fall_with_service(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert service_level(low) <= service_level(high) <= service_level(4 * high + 1024)


@given(ranks, ranks, st.integers(0, 1000), st.integers(0, 1000))
def test_two_sequences_never_displace_each_other(a: Rank, b: Rank, m: int, n: int) -> None:
    assert not (should_displace(a, m, b) and should_displace(b, n, a))


@given(st.lists(st.tuples(st.sampled_from(["", "a"]), ids), max_size=12), ids, st.data())
def test_an_index_finds_whoever_shares_most(
    entries: list[tuple[str, list[int]]], tokens: list[int], data: st.DataObject
) -> None:
    index = PrefixIndex()
    keys = []
    for order, (namespace, values) in enumerate(entries):
        sequence = Sequence(namespace, order=order)
        sequence.append(values, is_text=True)
        keys.append(index.add(sequence, len(values)))
    gone = data.draw(st.sets(st.sampled_from(range(len(entries))))) if entries else set()
    for i in gone:
        index.remove(keys[i])
    left = [v for i, (name, v) in enumerate(entries) if name == "a" and i not in gone]
    best = max((shared_len(v, tokens) for v in left), default=0)
    assert len(index) == len(entries) - len(gone)
    assert index.shared_len("a", array(tokens)) == best
    near = [s.tokens.tolist() for s in index.neighbours("a", array(tokens))]
    assert max((shared_len(v, tokens) for v in near), default=0) == best
    assert bool(near) == bool(left)
