"""The meaning of linear in plain torch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.linear(x.to(weight.dtype), weight, bias).to(x.dtype)
