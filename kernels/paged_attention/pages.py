"""Where the tokens of each row lie."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Pages(NamedTuple):
    """Where each row's tokens lie; the fields of the same names of a Batch."""

    page_table: Tensor  # [R, S_max] int32, contiguous
    table_rows: Tensor  # [B] int32
    seq_lens: Tensor  # [B] int32, new tokens included
    query_start: Tensor  # [B+1] int32
