from __future__ import annotations

import numpy as np
import pytest
import torch

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
