"""Weights in the order in which `tiles` reads them: 16 columns of the result side by side.

    float32     [N' / 16, K', 16]           one number of each of 16 columns: a vector
    bfloat16    [N' / 16, K' / 2, 16, 2]    two neighbours in k of each (the bf16 dot product)
    int8        [N' / 16, K' / 4, 16, 4]    four neighbours in k of each (the integer ones)

N' is the number of columns (rows of the weight) rounded up to 32, K' the width rounded up to 64;
what is added is zero. A column's weights are one contiguous run only for each 16 columns, so the
plain weight is not kept: it would be the same bytes again.

int8: weight[n, k] = scales[n] * weights[n, k] with scales[n] = max |weight[n]| / 127, rounded to
nearest (symmetric, per output channel). Activations become integers too, each row with its own
scale, of up to `largest_activation(K)`: sums over K' products then fit into 32 bits, so they are
exact, and no order of summation can change a result. 8191 (at K up to 2,064) is a finer step than
bfloat16 gives to all but a row's smallest numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sestina.kernels import aligned, amx

TILE, PAIR, WIDTH = 16, 32, 64
MAX_ACTIVATION = 8191
LAYOUT = 1
"""Of what `quantise`, `pack` and `interleave` give: raised with any change, so that what is kept on
disk (`sestina.backend.weights.packed_file`) is not taken for what they would give now."""


class Packed(NamedTuple):
    """L matrices of one shape, packed. numba reads it as it is.

    weights [L, N' * K'] int8, uint16 (bfloat16 bits) or float32; scales [L, N'] float32 (ones
    where weights are not int8); bias [L, N'] float32, or [0, 0] for none.
    """

    weights: NDArray[np.generic]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32]


class Rows(NamedTuple):
    """Activations in the form that a kernel multiplies with packed weights; see `tiles.prepare`.

    values [T, K'] int16 beside int8 weights, uint16 (bfloat16 bits) or float32; zero from K on.
    scales [T] float32: what each row's integers are multiples of (unused for the others).
    blocks [T'/16, ...]: the same as tiles of 16 rows by 64 bytes, [0, 0] where none are used:
        int8 [T'/16, K'/64, 2, 16, 64]      beside int8 weights: a value is 128 * [0] + [1]
        uint16 [T'/16, K'/32, 16, 32]       of bfloat16, and `values` is then not written
      T' is T rounded up to 16; all axes but the first are stored as one.
    """

    values: NDArray[np.generic]
    scales: NDArray[np.float32]
    blocks: NDArray[np.generic]

    @classmethod
    def empty(
        cls,
        num_rows: int,
        width: int,
        weights: NDArray[np.generic],
        has_blocks: bool | None = None,  # None: where this process may use them
    ) -> Rows:
        """For `num_rows` rows of K = `width`, beside packed weights of this dtype."""
        is_int8 = weights.dtype == np.int8
        full_width = padded(width, WIDTH)
        values = aligned.zeros((num_rows, full_width), np.int16 if is_int8 else weights.dtype)
        if has_blocks is None:
            has_blocks = amx.allowed()
        shape = (0, 0)
        if has_blocks and weights.dtype != np.float32:
            shape = (-(-num_rows // TILE), TILE * full_width * (2 if is_int8 else 1))
        return cls(values, np.ones(num_rows, np.float32), aligned.zeros(shape, weights.dtype))


def padded(size: int, step: int) -> int:
    return -(-size // step) * step


def largest_activation(width: int) -> int:
    """The largest |integer| an activation may be: 127 * this * width stays below 2**31."""
    return min(MAX_ACTIVATION, (2**31 - 1) // (127 * padded(width, WIDTH)))


def neighbours(dtype: torch.dtype) -> int:
    """How many k lie side by side."""
    return {torch.float32: 1, torch.bfloat16: 2, torch.int8: 4}[dtype]


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 [N, K] and float32 scales [N] of a float weight [N, K]; zeros have scale 0."""
    weight = weight.float()
    scales = weight.abs().amax(dim=1) / 127.0
    steps = torch.where(scales > 0, scales, torch.ones_like(scales))
    return (weight / steps[:, None]).round_().to(torch.int8), scales


def pack(weight: Tensor) -> NDArray[np.generic]:
    """One matrix [N, K] of int8, bfloat16 or float32 in its packed order, flat."""
    num_columns, width = weight.shape
    side = neighbours(weight.dtype)
    full = weight.new_zeros((padded(num_columns, PAIR), padded(width, WIDTH)))
    full[:num_columns, :width] = weight
    tiles = full.view(full.shape[0] // TILE, TILE, full.shape[1] // side, side)
    flat = tiles.transpose(1, 2).contiguous().view(-1)
    if weight.dtype is torch.bfloat16:
        flat = flat.view(torch.uint16)
    numbers: NDArray[np.generic] = flat.numpy()
    return numbers


def unpack(flat: NDArray[np.generic], num_columns: int, width: int) -> Tensor:
    """The inverse of `pack`: [N, K] of the packed dtype."""
    tensor = torch.from_numpy(flat)
    if tensor.dtype is torch.uint16:
        tensor = tensor.view(torch.bfloat16)
    side = neighbours(tensor.dtype)
    full_width = padded(width, WIDTH)
    tiles = tensor.view(-1, full_width // side, TILE, side)
    return tiles.transpose(1, 2).reshape(-1, full_width)[:num_columns, :width]


def interleave(gate: Tensor, up: Tensor) -> Tensor:
    """16 rows of one, 16 of the other, and so on: [2 I', K] of two [I, K], I' rounded up to 16.

    A pair of tiles then holds a gate and the up that goes with it.
    """
    size = padded(gate.shape[0], TILE)
    full = gate.new_zeros((2, size, *gate.shape[1:]))
    full[0, : gate.shape[0]], full[1, : up.shape[0]] = gate, up
    tiles = full.view(2, size // TILE, TILE, *gate.shape[1:])
    return tiles.transpose(0, 1).reshape(2 * size, *gate.shape[1:])


@dataclass(slots=True)
class Packer:
    """Collects matrices of one shape, layer by layer."""

    dtype: torch.dtype  # of the packed weights
    weights: list[NDArray[np.generic]]
    scales: list[NDArray[np.float32]]
    bias: list[NDArray[np.float32]]

    @classmethod
    def of(cls, dtype: torch.dtype) -> Packer:
        return cls(dtype, [], [], [])

    def add(self, weight: Tensor, bias: Tensor | None = None) -> None:
        size = padded(weight.shape[0], PAIR)
        scales = np.ones(size, np.float32)
        if self.dtype is torch.int8:
            weight, steps = quantise(weight)
            scales[: weight.shape[0]] = steps.numpy()
        self.weights.append(pack(weight.to(self.dtype)))
        self.scales.append(scales)
        if bias is not None:
            full = np.zeros(size, np.float32)
            full[: bias.shape[0]] = bias.float().numpy()
            self.bias.append(full)

    def packed(self) -> Packed:
        bias = np.stack(self.bias) if self.bias else np.zeros((0, 0), np.float32)
        return Packed(aligned.stack(self.weights), aligned.stack(self.scales), bias)
