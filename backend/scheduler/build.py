"""Turn a step's plan into the tensors of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sestina.backend.batch import Batch
from sestina.backend.cache.page_table import PageTable
from sestina.backend.scheduler.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens [start, end) of a sequence run in this step, in `slots` of page table row `row`.

    Logits are wanted of tokens [logits_from, end), empty when equal to `end`.
    """

    sequence: Sequence
    start: int
    end: int
    row: int
    slots: NDArray[np.int32]
    logits_from: int

    @property
    def num_logits(self) -> int:
        return self.end - self.logits_from


def logits_from(sequence: Sequence, start: int, end: int) -> int:
    """First token of [start, end) whose logits the sequence's task needs; `end` if none.

    The logits of token p predict token p + 1: they score it where it is known and wanted, or draw
    it where p is the last token.
    """
    task = sequence.task
    if task is None:
        return end
    first = end
    if task.wants_sample and end == len(sequence):
        first = end - 1
    if task.score_from is not None:
        first = min(first, max(start, task.score_from - 1))
    return first


def build_batch(chunks: SequenceOf[Chunk], table: PageTable, device: torch.device) -> Batch:
    """One row per chunk, in order; see `Batch` for the shapes."""
    lengths = [chunk.end - chunk.start for chunk in chunks]
    starts = np.concatenate([[0], np.cumsum(lengths)])  # [B+1]
    rows = np.array([chunk.row for chunk in chunks], np.int32)  # [B]
    seq_lens = np.array([chunk.end for chunk in chunks], np.int32)  # [B]
    logit_rows = np.concatenate(
        [
            np.arange(base + chunk.logits_from - chunk.start, base + chunk.end - chunk.start)
            for base, chunk in zip(starts, chunks, strict=False)
        ]
    )
    page_table = table.tensor
    if device.type != "cpu":
        # Only the rows in use cross the bus, renumbered from 0.
        page_table = page_table[torch.from_numpy(rows).long(), : int(seq_lens.max())]
        rows = np.arange(len(rows), dtype=np.int32)

    def on_device(array: NDArray[np.generic], dtype: torch.dtype) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device=device, dtype=dtype)

    return Batch(
        token_ids=on_device(
            np.concatenate([c.sequence.tokens[c.start : c.end] for c in chunks]), torch.int64
        ),
        positions=on_device(
            np.concatenate([np.arange(c.start, c.end) for c in chunks]), torch.int64
        ),
        slots=on_device(np.concatenate([c.slots for c in chunks]), torch.int64),
        query_start=on_device(starts, torch.int32),
        seq_lens=on_device(seq_lens, torch.int32),
        table_rows=on_device(rows, torch.int32),
        page_table=page_table.to(device),
        logit_rows=on_device(logit_rows, torch.int64),
    )
