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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sestina.kernels.decoder import stages
from sestina.kernels.decoder.shapes import Buffers, Inputs, Items, Shape, Weights
from sestina.kernels.paged_attention.lanes import scratch_len
from sestina.kernels.threads import Team

__all__ = ["Decoder", "Shape", "Weights", "runs_of"]

RUN_LEN = 128
"""New tokens of one sequence that one attention item takes, so that long prefills are shared."""


class Decoder:
    """One model's weights, its threads and their room to work in; one call at a time."""

    def __init__(self, shape: Shape, weights: Weights, num_threads: int) -> None:
        self._shape = shape
        self._weights = weights
        self._team = Team(num_threads)
        self._buffers: Buffers | None = None
        self._lock = threading.Lock()

    def logits(
        self,
        token_ids: Tensor,
        cos_sin: tuple[Tensor, Tensor],
        slots: Tensor,
        runs: NDArray[np.int32],
        page_table: Tensor,
        logit_rows: Tensor,
        k_pool: Tensor,
        v_pool: Tensor,
    ) -> Tensor:
        """Logits [N, V] float32 of the tokens `logit_rows`.

        token_ids [T] int64 within the vocabulary; cos_sin [T, D / 2] float32 each; slots [T] int64,
        where each token's key and value go; runs [A, 4] int32 from `runs_of`; page_table [R, S]
        int32; logit_rows [N] int64; pools [L, P, G, D] float32 or bfloat16, contiguous.
        """
        num_tokens, num_logits = token_ids.shape[0], logit_rows.shape[0]
        ids = token_ids.numpy()
        if ids.min() < 0 or ids.max() >= self._shape.vocab:
            raise IndexError(f"token ids must lie in [0, {self._shape.vocab})")
        logits = np.empty((num_logits, self._weights.lm_head.scales.shape[1]), np.float32)
        with self._lock:
            buffers = self._room(num_tokens, num_logits)
            cos, sin = cos_sin
            inputs = Inputs(
                ids,
                cos.numpy(),
                sin.numpy(),
                slots.numpy(),
                runs,
                page_table.numpy(),
                logit_rows.numpy(),
            )
            items = Items.of(
                self._weights, num_tokens, len(runs), num_logits, self._team.num_threads
            )
            self._team.run(
                stages.run,
                self._weights,
                self._shape,
                inputs,
                _flat(k_pool),
                _flat(v_pool),
                buffers,
                logits,
                items,
            )
        return torch.from_numpy(logits)[:, : self._shape.vocab].contiguous()

    def _room(self, num_tokens: int, num_logits: int) -> Buffers:
        """Buffers for so much; those there are, or larger ones that replace them."""
        if self._buffers is not None:
            most, most_logits = len(self._buffers.residual), len(self._buffers.rows_final.values)
            if num_tokens <= most and num_logits <= most_logits:
                return self._buffers
            num_tokens, num_logits = max(num_tokens, most), max(num_logits, most_logits)
        group = self._shape.num_heads // self._shape.num_kv_heads
        self._buffers = Buffers.empty(
            self._shape,
            self._weights,
            _grown(num_tokens),
            _grown(num_logits),
            self._team.num_threads,
            scratch_len(RUN_LEN, group, self._shape.head_dim),
        )
        return self._buffers


def runs_of(query_start: Tensor, seq_lens: Tensor, table_rows: Tensor) -> NDArray[np.int32]:
    """[A, 4] int32: page table row, first token, end, and how many keys the first token sees.

    The rows of a `Batch`, cut into runs of up to RUN_LEN new tokens.
    """
    starts, lens, rows = query_start.numpy(), seq_lens.numpy(), table_rows.numpy()
    counts = -(-np.diff(starts) // RUN_LEN)  # of each row's runs
    owners = np.repeat(np.arange(len(counts)), counts)
    places = np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners]
    firsts, ends = starts[owners] + RUN_LEN * places, starts[owners + 1]
    seen = lens[owners] - (ends - firsts) + 1
    runs = (rows[owners], firsts, np.minimum(firsts + RUN_LEN, ends), seen)
    return np.stack(runs, axis=1).astype(np.int32)


def _grown(size: int) -> int:
    """The next power of two."""
    return 1 << max(0, size - 1).bit_length()


def _flat(pool: Tensor) -> NDArray[np.generic]:
    """[L, P, G, D] as numba reads it: [L, P, G * D], bfloat16 as bits."""
    if pool.dtype is torch.bfloat16:
        pool = pool.view(torch.uint16)
    numbers: NDArray[np.generic] = pool.view(*pool.shape[:2], -1).numpy()
    return numbers
