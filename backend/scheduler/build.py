"""A step's plan, and the tensors of its forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sestina.backend.batch import Batch
from sestina.backend.cache.page_table import PageTable
from sestina.backend.scheduler.rows import Ints, Rows


@dataclass(frozen=True, slots=True)
class Plan:
    """Tokens [starts[b], ends[b]) of each of B rows run in this step, T in all.

    num_guessed: how many of the last of them are a draft's, behind the sequence's own. Logits are
    wanted of tokens [logits_from, end), none where it is equal to `end`. slots: where the T tokens'
    keys and values go, concatenated.
    """

    rows: Ints  # [B]
    starts: Ints  # [B]
    ends: Ints  # [B]
    num_guessed: Ints  # [B]
    logits_from: Ints  # [B]
    slots: NDArray[np.int32]  # [T]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> Ints:
        return self.ends - self.starts

    @property
    def num_logits(self) -> Ints:
        return self.ends - self.logits_from

    def only(self, places: Ints) -> Plan:
        """The rows at some of the places 0 .. B-1, ascending."""
        first = self.sizes.cumsum() - self.sizes
        return Plan(
            self.rows[places],
            self.starts[places],
            self.ends[places],
            self.num_guessed[places],
            self.logits_from[places],
            self.slots[_ranges(first[places], self.sizes[places])],
        )

    def without_guesses(self) -> Plan:
        """The sequences' own tokens alone."""
        sizes = self.sizes
        first = sizes.cumsum() - sizes
        return Plan(
            self.rows,
            self.starts,
            self.ends - self.num_guessed,
            np.zeros_like(self.num_guessed),
            self.logits_from,
            self.slots[_ranges(first, sizes - self.num_guessed)],
        )


def build_batch(plan: Plan, rows: Rows, table: PageTable, device: torch.device) -> Batch:
    """One row per row of the plan, in order; see `Batch` for the shapes."""
    sizes = plan.sizes
    query_start = np.zeros(len(plan) + 1, np.int64)
    sizes.cumsum(out=query_start[1:])
    positions = _ranges(plan.starts, sizes)
    page_table, table_rows = table.tensor, plan.rows
    if device.type != "cpu":
        # Only the rows in use cross the bus, renumbered from 0.
        page_table = page_table[torch.from_numpy(plan.rows), : int(plan.ends.max())]
        table_rows = np.arange(len(plan))

    def on_device(array: NDArray[np.generic], dtype: type[np.generic]) -> torch.Tensor:
        return torch.from_numpy(array.astype(dtype, copy=False)).to(device)

    return Batch(
        token_ids=on_device(rows.tokens[plan.rows.repeat(sizes), positions], np.int64),
        positions=on_device(positions, np.int64),
        slots=on_device(plan.slots, np.int64),
        query_start=on_device(query_start, np.int32),
        seq_lens=on_device(plan.ends, np.int32),
        table_rows=on_device(table_rows, np.int32),
        page_table=page_table.to(device),
        logit_rows=on_device(
            _ranges(query_start[:-1] + plan.logits_from - plan.starts, plan.num_logits),
            np.int64,
        ),
    )


def _ranges(starts: Ints, sizes: Ints) -> Ints:
    """start, start + 1, ... of each size, concatenated.

    >>> _ranges(np.array([5, 9]), np.array([3, 1])).tolist()
    [5, 6, 7, 9]
    """
    if not np.count_nonzero(sizes != 1):
        return starts
    ends = sizes.cumsum()
    ranges: Ints = (starts - ends + sizes).repeat(sizes)
    ranges += np.arange(len(ranges))
    return ranges
