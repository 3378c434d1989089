"""rms_norm in numba: one pass over each row, against five torch calls of 4 us or more each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sestina.kernels.numba_jit import jit


def supports(residual: Tensor, weight: Tensor) -> bool:
    return residual.dtype is torch.float32 and weight.dtype is torch.float32


def rms_norm(x: Tensor | None, residual: Tensor, weight: Tensor, eps: float) -> Tensor:
    out = torch.empty_like(residual)
    if x is None:
        _norm(residual.numpy(), weight.numpy(), np.float32(eps), out.numpy())
    else:
        _add_norm(x.numpy(), residual.numpy(), weight.numpy(), np.float32(eps), out.numpy())
    return out


@jit
def _norm(residual: np.ndarray, weight: np.ndarray, eps: np.float32, out: np.ndarray) -> None:
    for t in range(residual.shape[0]):
        norm_row(residual[t], weight, eps, out[t])


@jit
def norm_row(row: np.ndarray, weight: np.ndarray, eps: np.float32, out: np.ndarray) -> None:
    """One row [C]; `out` may be the row."""
    width = weight.shape[0]
    total = np.float32(0.0)
    for c in range(width):
        total += row[c] * row[c]
    scale = np.float32(1.0) / np.sqrt(total / np.float32(width) + eps)
    for c in range(width):
        out[c] = row[c] * scale * weight[c]


@jit
def _add_norm(
    x: np.ndarray, residual: np.ndarray, weight: np.ndarray, eps: np.float32, out: np.ndarray
) -> None:
    for t in range(residual.shape[0]):
        for c in range(residual.shape[1]):
            residual[t, c] += x[t, c]
    _norm(residual, weight, eps, out)
