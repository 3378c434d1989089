"""The meaning of silu_mul in plain torch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def silu_mul(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.float().chunk(2, dim=-1)  # [T, I] each
    return (functional.silu(gate) * up).to(gate_up.dtype)
