"""The meaning of rms_norm in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def rms_norm(x: Tensor | None, residual: Tensor, weight: Tensor, eps: float) -> Tensor:
    if x is not None:
        residual += x
    wide = residual.float()  # [T, C]
    scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + eps)  # [T, 1]
    return (wide * scale * weight).to(residual.dtype)
