"""All layers of a Llama in one compiled call, on a team of threads, for CPUs.

What `sestina.backend.models.llama` does operation by operation, with the same meaning: between two
operations there is no Python, no memory taken and no thread woken. A decode step of a small model
has some 300 operations of a few microseconds, each of which would pay for all three.

Weights are packed (`linear.packed`) in float32, bfloat16 or int8. Activations are float32; a
matrix reads them in the form that goes with its weights. Keys and values are float32 beside
float32 weights, else bfloat16. All is computed in an order that does not depend on the batch, so
the bits of a token's logits do not either, in any of the three dtypes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sestina.kernels.aligned import Spare
from sestina.kernels.decoder import stages
from sestina.kernels.decoder.shapes import Buffers, Inputs, Items, Shape, Weights
from sestina.kernels.paged_attention.pages import Pages
from sestina.kernels.paged_attention.plan import plan
from sestina.kernels.threads import CLOCK_LEN, Team

__all__ = ["STAGES", "Decoder", "Pages", "Shape", "Weights"]

STAGES = (*stages.NAMES, "waiting")
"""Of a forward pass, as `Decoder.timed` tells them."""


class Decoder:
    """One model's weights, its threads and their room to work in; one call at a time."""

    def __init__(self, shape: Shape, weights: Weights, num_threads: int) -> None:
        self._shape = shape
        self._weights = weights
        self._team = Team(num_threads)
        self._buffers: Buffers | None = None
        self._spare = Spare()  # for logits
        self._lock = threading.Lock()
        self._clocks = np.zeros((num_threads, 0), np.int64)

    def logits(
        self,
        token_ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        pages: Pages,
        logit_rows: Tensor,
        k_pool: Tensor,
        v_pool: Tensor,
    ) -> Tensor:
        """Logits [N, V] float32 of the tokens `logit_rows`.

        token_ids [T] int64 within the vocabulary; positions [T] int64; slots [T] int64, where each
        token's key and value go; logit_rows [N] int64; pools [L, P, G, D] float32 or bfloat16,
        contiguous.
        """
        num_tokens, num_logits = token_ids.shape[0], logit_rows.shape[0]
        shape, weights, num_threads = self._shape, self._weights, self._team.num_threads
        ids = token_ids.numpy()
        if stages.has_outside(ids, shape.vocab):
            raise IndexError(f"token ids must lie in [0, {shape.vocab})")
        arrays = pages.arrays()
        group = shape.num_heads // shape.num_kv_heads
        runs, attention = plan(arrays, group, shape.num_kv_heads, num_threads)
        inputs = Inputs(
            ids,
            positions.numpy(),
            slots.numpy(),
            runs,
            attention,
            arrays.page_table,
            logit_rows.numpy(),
        )
        items = Items.of(weights, num_tokens, len(attention), num_logits, num_threads)
        with self._lock:
            logits = self._spare.floats(num_logits, weights.lm_head.scales.shape[1])
            self._team.run(
                stages.run,
                weights,
                shape,
                inputs,
                _flat(k_pool),
                _flat(v_pool),
                self._room(num_tokens, num_logits),
                logits,
                items,
                self._clocks,
            )
        found = torch.from_numpy(logits)
        return found if found.shape[1] == shape.vocab else found[:, : shape.vocab].contiguous()

    @contextmanager
    def timed(self) -> Iterator[NDArray[np.int64]]:
        """Nanoseconds that each thread spends in each of STAGES within the block, [threads, 14].

        Measured calls take 20 ns longer a stage and thread.
        """
        clocks = np.zeros((self._team.num_threads, CLOCK_LEN), np.int64)
        self._clocks = clocks
        try:
            yield clocks[:, : len(STAGES)]
        finally:
            self._clocks = np.zeros((self._team.num_threads, 0), np.int64)

    def _room(self, num_tokens: int, num_logits: int) -> Buffers:
        """Buffers for so much; those there are, or larger ones that replace them."""
        if self._buffers is not None:
            most, most_logits = len(self._buffers.residual), len(self._buffers.rows_final.values)
            if num_tokens <= most and num_logits <= most_logits:
                return self._buffers
            num_tokens, num_logits = max(num_tokens, most), max(num_logits, most_logits)
        self._buffers = Buffers.empty(
            self._shape,
            self._weights,
            _grown(num_tokens),
            _grown(num_logits),
            self._team.num_threads,
        )
        return self._buffers


def _grown(size: int) -> int:
    """The next power of two."""
    return 1 << max(0, size - 1).bit_length()


def _flat(pool: Tensor) -> NDArray[np.generic]:
    """[L, P, G, D] as numba reads it: [L, P, G * D], bfloat16 as bits."""
    if pool.dtype is torch.bfloat16:
        pool = pool.view(torch.uint16)
    numbers: NDArray[np.generic] = pool.view(*pool.shape[:2], -1).numpy()
    return numbers
