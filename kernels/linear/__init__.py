"""x @ weight.T + bias, where the weight may be narrower than the activations.

Decoding is bound by the bytes of the weights: with one token a step, each weight is read once and
used once. So few rows take a kernel that streams the weight, and many rows take torch's GEMM.
"""

from __future__ import annotations

from torch import Tensor

from sestina.kernels.linear import cpu, reference


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [T, K]; weight [N, K]; bias [N] of the weight's dtype, or None; out [T, N] like `x`.

    With float32 x and a bfloat16 weight, few rows are computed in float32 throughout, many rows
    through a bfloat16 GEMM (inputs and outputs rounded to bfloat16, sums in float32).
    """
    if x.is_cpu and cpu.supports(x, weight):
        return cpu.linear(x, weight, bias)
    return reference.linear(x, weight, bias)
