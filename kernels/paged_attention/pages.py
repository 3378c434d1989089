"""Where the tokens of each row lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int32]


class Pages(NamedTuple):
    """Where each row's tokens lie; the fields of the same names of a Batch."""

    page_table: Tensor  # [R, S_max] int32, contiguous
    table_rows: Tensor  # [B] int32
    seq_lens: Tensor  # [B] int32, new tokens included
    query_start: Tensor  # [B+1] int32

    def arrays(self) -> PageArrays:
        """As compiled code reads them; on a CPU."""
        return PageArrays(*(tensor.numpy() for tensor in self))


class PageArrays(NamedTuple):
    """`Pages` as arrays."""

    page_table: Ints
    table_rows: Ints
    seq_lens: Ints
    query_start: Ints
