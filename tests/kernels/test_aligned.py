from __future__ import annotations

import numpy as np
import pytest
import torch

from sestina.kernels import aligned
from sestina.kernels.aligned import LINE, Spare


@pytest.mark.parametrize("shape", [7, (3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float32])
def test_zeros_begin_a_line(shape: int | tuple[int, ...], dtype: type) -> None:
    for _ in range(8):
        made = aligned.zeros(shape, dtype)
        assert made.size == 0 or made.ctypes.data % LINE == 0
        assert np.array_equal(made, np.zeros(shape, dtype))


def test_stack_is_numpys() -> None:
    arrays = [np.arange(6, dtype=np.uint16).reshape(2, 3) + n for n in range(4)]
    made = aligned.stack(arrays)
    assert made.ctypes.data % LINE == 0
    assert np.array_equal(made, np.stack(arrays))


def test_spare_memory_is_given_out_again_once_nobody_holds_it() -> None:
    spare = Spare()
    first = spare.floats(4, 8)
    first[:] = 1
    place = first.ctypes.data
    assert place % LINE == 0
    del first
    again = spare.floats(2, 8)
    assert again.ctypes.data == place
    assert not np.shares_memory(again, spare.floats(2, 8))


def test_a_tensors_slice_holds_spare_memory() -> None:
    spare = Spare()
    row = torch.from_numpy(spare.floats(4, 8))[2]
    row.fill_(3)
    spare.floats(4, 8)[:] = 5
    assert row.tolist() == [3] * 8
