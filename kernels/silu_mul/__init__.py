"""The gate of a SwiGLU feed-forward layer: silu(gate) * up, with silu(z) = z / (1 + e**-z).

Shazeer, "GLU Variants Improve Transformer", 2020.
"""

from __future__ import annotations

from torch import Tensor

from sestina.kernels.silu_mul import cpu, reference


def silu_mul(gate_up: Tensor) -> Tensor:
    """gate_up [T, 2 I] holds the gate, then the up projection; out [T, I] of the same dtype.

    Computed in float32. `gate_up` is not written.
    """
    if gate_up.is_cpu and cpu.supports(gate_up):
        return cpu.silu_mul(gate_up)
    return reference.silu_mul(gate_up)
