"""Rotary position embedding, rotate-half layout (the one of Hugging Face checkpoints).

    a, b = the first and second half of a head
    a' = a * cos - b * sin        b' = b * cos + a * sin

Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
"""

from __future__ import annotations

from torch import Tensor

from sestina.kernels.rope import cpu, reference


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate the heads of every token in place.

    x [T, N, D], any floating dtype, may be a strided view, so that the query and key heads of a
    fused projection rotate in one call; cos, sin [T, D / 2] float32. Computed in float32.
    """
    if x.is_cpu and cpu.supports(x):
        cpu.rope(x, cos, sin)
    else:
        reference.rope(x, cos, sin)
