"""The meaning of rope in plain torch."""

from __future__ import annotations

from torch import Tensor


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    a, b = x.float().chunk(2, dim=-1)  # [T, N, D / 2] each
    cos, sin = cos[:, None], sin[:, None]  # [T, 1, D / 2]
    half = x.shape[-1] // 2
    rotated_a, rotated_b = a * cos - b * sin, b * cos + a * sin
    x[..., :half] = rotated_a.to(x.dtype)
    x[..., half:] = rotated_b.to(x.dtype)
