"""rope in numba, in place."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sestina.kernels.numba_jit import jit


def supports(x: Tensor) -> bool:
    return x.dtype is torch.float32


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    _rope(x.numpy(), cos.numpy(), sin.numpy())


@jit
def _rope(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> None:
    num_tokens, half = cos.shape
    for t in range(num_tokens):
        for n in range(x.shape[1]):
            rotate(x[t, n, :half], x[t, n, half:], cos[t], sin[t])


@jit
def rotate(first: np.ndarray, second: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> None:
    """One head of one token: its halves, and their cosines and sines, [D / 2] each."""
    for d in range(cos.shape[0]):
        a, b = first[d], second[d]
        first[d] = a * cos[d] - b * sin[d]
        second[d] = b * cos[d] + a * sin[d]
