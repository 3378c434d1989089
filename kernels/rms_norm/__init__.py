"""Root mean square normalisation, with the residual addition in front of it.

    residual = residual + x                       (skipped when x is None)
    out = residual / sqrt(mean(residual**2) + eps) * weight

Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
"""

from __future__ import annotations

from torch import Tensor

from sestina.kernels.rms_norm import cpu, reference


def rms_norm(x: Tensor | None, residual: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Add `x` to `residual` in place, and return the normalised sum.

    x, residual [T, C] of one floating dtype; weight [C] float32; out [T, C] like `residual`.
    Computed in float32. `residual` is written, `x` is not. Reads and writes T * C elements once.
    """
    if residual.is_cpu and cpu.supports(residual, weight):
        return cpu.rms_norm(x, residual, weight, eps)
    return reference.rms_norm(x, residual, weight, eps)
