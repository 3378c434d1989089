"""Which slot holds the token at each position of each branch."""

from __future__ import annotations

import heapq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sestina.backend.cache.page_pool import Slots
from sestina.lang.errors import InternalError


class PageTable:
    """int32 [R, S]: row r, position s -> slot. One tensor for all batches; rows are lent out.

    `tensor` is what attention reads. On the CPU it shares its memory with the table; on another
    device it is a copy that every `write` updates. Entries never written are 0, entries of a
    released row keep their old values: read only what the present owner wrote.
    """

    def __init__(self, num_rows: int, max_len: int, device: torch.device | str = "cpu") -> None:
        host = torch.zeros((num_rows, max_len), dtype=torch.int32)  # [R, S]
        self._slots: Slots = host.numpy()
        self.tensor: Tensor = host.to(device)
        self._is_shared = self.tensor.data_ptr() == host.data_ptr()
        self._free_rows = list(range(num_rows))  # a heap: low rows first
        self._is_taken = np.zeros(num_rows, dtype=np.bool_)

    @property
    def num_rows(self) -> int:
        return int(self._slots.shape[0])

    @property
    def max_len(self) -> int:
        return int(self._slots.shape[1])

    @property
    def num_free_rows(self) -> int:
        return len(self._free_rows)

    def take_row(self) -> int | None:
        """The lowest free row, or None."""
        if not self._free_rows:
            return None
        row = heapq.heappop(self._free_rows)
        self._is_taken[row] = True
        return row

    def release_row(self, row: int) -> None:
        """Give a row back; InternalError if it is not taken."""
        self._require_taken(row)
        self._is_taken[row] = False
        heapq.heappush(self._free_rows, row)

    def write(self, row: int, start: int, slots: Slots) -> None:
        """Set positions start .. start+len(slots)-1 of a taken row."""
        end = start + len(slots)
        self._require_range(row, start, end)
        self._slots[row, start:end] = slots
        if not self._is_shared:
            self.tensor[row, start:end] = torch.from_numpy(self._slots[row, start:end])

    def write_rows(
        self,
        rows: NDArray[np.int64],
        starts: NDArray[np.int64],
        counts: NDArray[np.int64],
        slots: Slots,
    ) -> None:
        """Positions starts[i] .. starts[i]+counts[i]-1 of rows[i], for all i; slots are theirs,
        concatenated. Every row is named once."""
        ends = starts + counts
        is_wrong = ~self._is_taken[rows] | (starts < 0) | (ends > self.max_len)
        if np.count_nonzero(is_wrong):
            for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
                self._require_range(row, start, end)
        places = rows * self.max_len + starts  # in the flat table
        if np.count_nonzero(counts != 1):
            places = (places - counts.cumsum() + counts).repeat(counts) + np.arange(len(slots))
        self._slots.reshape(-1)[places] = slots
        if not self._is_shared:
            self.tensor.view(-1)[torch.from_numpy(places).to(self.tensor.device)] = (
                torch.from_numpy(slots).to(self.tensor.device)
            )

    def read(self, row: int, start: int, end: int) -> Slots:
        """A copy of positions start .. end-1 of a taken row, int32 [end - start]."""
        self._require_range(row, start, end)
        return self._slots[row, start:end].copy()

    def _require_taken(self, row: int) -> None:
        if not (0 <= row < self.num_rows and self._is_taken[row]):
            raise InternalError(f"page table row {row} is not taken")

    def _require_range(self, row: int, start: int, end: int) -> None:
        self._require_taken(row)
        # numpy would clip a slice that reaches past the end, and drop what does not fit.
        if not 0 <= start <= end <= self.max_len:
            raise InternalError(
                f"positions {start}:{end} of page table row {row} are not within {self.max_len}"
            )

    def check(self) -> None:
        """Verify that each row is either free or taken."""
        free = sorted(self._free_rows)
        if free != np.flatnonzero(~self._is_taken).tolist():
            raise InternalError(f"page table rows {free} are listed free, but not those not taken")
