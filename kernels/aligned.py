"""Arrays that begin a cache line.

numpy's begin 16 bytes after one as a rule, so that every second load of 64 bytes touches two lines:
products in tiles take up to twice as long.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64


def zeros(shape: int | Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """`numpy.zeros`, aligned; memory is taken when it is first written."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    num_bytes = math.prod(sizes) * np.dtype(dtype).itemsize
    return _from_line(np.zeros(num_bytes + LINE, np.uint8), num_bytes).view(dtype).reshape(sizes)


def stack(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """`numpy.stack` of arrays of one shape and dtype, aligned."""
    out = zeros((len(arrays), *arrays[0].shape), arrays[0].dtype)
    return np.stack(arrays, out=out)


class Spare:
    """Memory that is given out again as soon as nobody holds what was made of it.

    New memory costs a page fault every 4 KiB (or 2 MiB), which for logits is as much as a layer.
    """

    def __init__(self) -> None:
        self._room = np.empty(0, np.uint8)

    def floats(self, num_rows: int, width: int) -> NDArray[np.float32]:
        """[num_rows, width] of anything, aligned."""
        num_bytes = 4 * num_rows * width
        nobody_else = 2  # this object, and the call that counts
        if len(self._room) < num_bytes + LINE or sys.getrefcount(self._room) > nobody_else:
            self._room = np.empty(num_bytes + LINE, np.uint8)
        return _from_line(self._room, num_bytes).view(np.float32).reshape(num_rows, width)


def _from_line(room: NDArray[np.uint8], num_bytes: int) -> NDArray[np.uint8]:
    """So many bytes from the first whole line on; room has LINE bytes more."""
    start = -room.ctypes.data % LINE
    return room[start : start + num_bytes]
