from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sestina.backend.cache import PageTable
from sestina.lang.errors import InternalError


def slots(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.int32)


def test_the_tensor_shows_what_was_written() -> None:
    table = PageTable(2, 5)
    row = table.take_row()
    assert row == 0
    table.write(row, 1, slots(7, 8, 9))
    assert table.tensor.dtype == torch.int32
    assert table.tensor.tolist() == [[0, 7, 8, 9, 0], [0] * 5]
    assert table.read(row, 2, 4).tolist() == [8, 9]


def test_read_is_a_copy() -> None:
    table = PageTable(1, 3)
    row = table.take_row()
    assert row is not None
    table.read(row, 0, 3)[:] = 5
    assert table.read(row, 0, 3).tolist() == [0, 0, 0]


def test_rows_are_lent_lowest_first() -> None:
    table = PageTable(3, 1)
    assert [table.take_row() for _ in range(4)] == [0, 1, 2, None]
    table.release_row(2)
    table.release_row(0)
    table.check()
    assert table.num_free_rows == 2
    assert table.take_row() == 0


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (2, 1), (0, 4), (4, 4)])
def test_refuses_positions_outside(start: int, end: int) -> None:
    table = PageTable(1, 3)
    row = table.take_row()
    assert row is not None
    with pytest.raises(InternalError, match="not within 3"):
        table.read(row, start, end)
    if start >= 0 and end >= start:
        with pytest.raises(InternalError, match="not within 3"):
            table.write(row, start, slots(*range(end - start)))


def test_refuses_rows_that_are_not_taken() -> None:
    table = PageTable(2, 3)
    row = table.take_row()
    assert row is not None
    table.release_row(row)
    for wrong in (row, 1, -1, 2):
        with pytest.raises(InternalError, match="not taken"):
            table.release_row(wrong)
        with pytest.raises(InternalError, match="not taken"):
            table.write(wrong, 0, slots(1))


def test_check_sees_a_lost_row() -> None:
    table = PageTable(2, 1)
    table._free_rows.pop()
    with pytest.raises(InternalError, match="listed free"):
        table.check()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_table_follows_the_host() -> None:
    table = PageTable(2, 4, "cuda")
    row = table.take_row()
    assert row is not None
    table.write(row, 1, slots(3, 4))
    assert table.tensor.cpu().tolist()[row] == [0, 3, 4, 0]


@given(
    chunks=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=5),
    device=st.sampled_from(["cpu", "other"]),
)
def test_many_rows_are_written_as_one_after_another(
    chunks: list[tuple[int, int]], device: str
) -> None:
    """Also into a tensor of its own, as on another device."""
    tables = [PageTable(5, 8), PageTable(5, 8)]
    for table in tables:
        if device == "other":
            table.tensor, table._is_shared = table.tensor.clone(), False
        for _ in chunks:
            table.take_row()
    starts = np.array([start for start, _ in chunks], np.int64)
    counts = np.array([count for _, count in chunks], np.int64)
    values = np.arange(1, 1 + counts.sum(), dtype=np.int32)
    tables[0].write_rows(np.arange(len(chunks)), starts, counts, values)
    at = 0
    for row, (start, count) in enumerate(chunks):
        tables[1].write(row, start, values[at : at + count])
        at += count
    assert tables[0].tensor.tolist() == tables[1].tensor.tolist()


def test_many_rows_are_refused_where_one_is() -> None:
    table = PageTable(2, 4)
    assert table.take_row() == 0
    one = np.array([1])
    with pytest.raises(InternalError, match="not taken"):
        table.write_rows(np.array([0, 1]), np.array([0, 0]), np.array([1, 1]), slots(1, 2))
    with pytest.raises(InternalError, match="not within 4"):
        table.write_rows(one - 1, one * 4, one, slots(1))
    assert table.tensor.tolist() == [[0] * 4] * 2
