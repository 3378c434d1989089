from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzz import tries

from sestina.backend.cache import PagePool
from sestina.lang.errors import InternalError


def slots(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.int32)


@tries(80)
@given(
    num_slots=st.integers(1, 40),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=40),
)
def test_agrees_with_a_set(num_slots: int, steps: list[tuple[bool, int]]) -> None:
    pool = PagePool(num_slots)
    held: list[set[int]] = []
    for is_allocate, n in steps:
        if is_allocate:
            got = pool.allocate(n)
            taken = set().union(*held)
            if n > num_slots - len(taken):
                assert got is None
            else:
                assert got is not None
                assert got.dtype == np.int32
                assert (np.diff(got) > 0).all()
                assert len(got) == n
                assert taken.isdisjoint(got.tolist())
                assert set(got.tolist()) <= set(range(num_slots))
                held.append(set(got.tolist()))
        elif held:
            pool.free(slots(*held.pop(n % len(held))))
        pool.check()
        assert pool.num_free == num_slots - sum(map(len, held))


def test_runs_are_contiguous_where_there_is_one() -> None:
    pool = PagePool(20)
    for _ in range(10):
        pool.allocate(2)
    pool.free(slots(0, 3, 6, 7, 8, 9, 12))
    assert pool.allocate(4).tolist() == [6, 7, 8, 9]  # type: ignore[union-attr]
    assert pool.allocate(3).tolist() == [0, 3, 12]  # type: ignore[union-attr]
    assert pool.allocate(1) is None
    assert pool.allocate(0).tolist() == []  # type: ignore[union-attr]


def test_freed_neighbours_join() -> None:
    pool = PagePool(8)
    one, two = pool.allocate(3), pool.allocate(5)
    assert one is not None
    assert two is not None
    pool.free(two)
    pool.free(one)
    assert pool.allocate(8).tolist() == list(range(8))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (slots(0, 5), "slot 5 is free"),
        (slots(0, 0), "slot 0 is named twice"),
        (slots(-1), "slot -1 is not one of 8"),
        (slots(8), "slot 8 is not one of 8"),
    ],
)
def test_refuses_wrong_frees_and_changes_nothing(wrong: np.ndarray, message: str) -> None:
    pool = PagePool(8)
    pool.allocate(3)
    with pytest.raises(InternalError, match=message):
        pool.free(wrong)
    assert pool.num_free == 5
    pool.check()


def test_refuses_nonsense_sizes() -> None:
    with pytest.raises(InternalError):
        PagePool(0)
    with pytest.raises(InternalError):
        PagePool(3).allocate(-1)


def test_check_sees_a_wrong_count() -> None:
    pool = PagePool(4)
    pool._num_free = 3
    with pytest.raises(InternalError, match="counts 3 free slots but has 4"):
        pool.check()
