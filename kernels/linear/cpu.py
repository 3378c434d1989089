"""linear for few rows in numba: stream the weight once, one thread.

On one AVX-512 core this reads 24 GB/s, where torch's GEMV reads 11 (float32) or 8 (bfloat16) and
its small GEMMs less; docs/numbers.md has the table. bfloat16 weights are widened in registers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sestina.kernels.numba_jit import jit

MAX_ROWS: Mapping[torch.dtype, int] = {torch.float32: 12, torch.bfloat16: 4}
"""Above this many rows torch's GEMM wins, by weight dtype (measured)."""


BITS: Mapping[torch.dtype, tuple[torch.dtype, np.uint32]] = {
    torch.float32: (torch.uint32, np.uint32(0)),
    torch.bfloat16: (torch.uint16, np.uint32(16)),
}
"""How to read a weight: as what integers, shifted left by how much to make a float32's bits."""


def supports(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype is torch.float32
        and x.shape[0] <= MAX_ROWS.get(weight.dtype, 0)
        and x.is_contiguous()
        and weight.is_contiguous()
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out = x.new_empty((x.shape[0], weight.shape[0]))
    bits, shift = BITS[weight.dtype]
    _linear(x.numpy(), weight.view(bits).numpy(), shift, out.numpy())
    if bias is not None:
        out += bias
    return out


@jit
def widen(bits: np.unsignedinteger, shift: np.uint32) -> np.float32:
    """The float32 that has these bits above `shift` zeros: 16 for a bfloat16."""
    return np.float32(np.uint32(np.uint32(bits) << shift).view(np.float32))


@jit
def _linear(x: np.ndarray, weight: np.ndarray, shift: np.uint32, out: np.ndarray) -> None:
    num_rows, width = x.shape
    last = num_rows - 1
    for n in range(weight.shape[0]):
        w = weight[n]
        if num_rows == 1:
            x0 = x[0]
            s0 = np.float32(0.0)
            for k in range(width):
                s0 += widen(w[k], shift) * x0[k]
            out[0, n] = s0
            continue
        # Four rows at a time share each widened weight; a short last group repeats its last row.
        for m0 in range(0, num_rows, 4):
            m1, m2, m3 = min(m0 + 1, last), min(m0 + 2, last), min(m0 + 3, last)
            x0, x1, x2, x3 = x[m0], x[m1], x[m2], x[m3]
            s0 = s1 = s2 = s3 = np.float32(0.0)
            for k in range(width):
                wide = widen(w[k], shift)
                s0 += wide * x0[k]
                s1 += wide * x1[k]
                s2 += wide * x2[k]
                s3 += wide * x3[k]
            out[m0, n], out[m1, n], out[m2, n], out[m3, n] = s0, s1, s2, s3
