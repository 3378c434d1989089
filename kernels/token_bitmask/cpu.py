"""Applying bitmasks in numba: whole words that allow everything are skipped."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from torch import Tensor


@njit(cache=True, nogil=True)
def _apply(logits: NDArray[np.float32], masks: NDArray[np.int32], rows: NDArray[np.int64]) -> None:
    num_tokens = logits.shape[1]
    num_words = min(masks.shape[1], (num_tokens + 31) // 32)
    for b in range(len(rows)):
        if rows[b] < 0:
            continue
        for w in range(num_words):
            word = masks[rows[b], w]
            if word == -1:
                continue
            for i in range(w * 32, min(w * 32 + 32, num_tokens)):
                if not (word >> (i & 31)) & 1:
                    logits[b, i] = -np.inf
        for i in range(num_words * 32, num_tokens):
            logits[b, i] = -np.inf


def apply(logits: Tensor, masks: Tensor, rows: Tensor) -> None:
    """See `apply_token_bitmask`."""
    _apply(logits.detach().numpy(), masks.numpy(), rows.numpy())
