"""x @ weight.T for 32 columns of the result at a time, from weights packed for it.

`packed.py` has the layouts. Each kernel takes two neighbouring tiles of 16 columns and all rows
of `x`, some at a time (`lanes.py`): a weight is read from memory once, and from the nearest cache
for further rows. Where the CPU multiplies tiles, `tiles_amx.py` takes many rows.

The bits of a row's result do not depend on its company. float32: they are the same on all CPUs
whose lanes fuse a multiplication with an addition; int8: on all CPUs; bfloat16: its instructions
add products in an order, and with a rounding, of their own.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from sestina.kernels import amx
from sestina.kernels.linear import convert, lanes, tiles_amx
from sestina.kernels.numba_jit import jit_exact as jit

MIN_INT8_ROWS = 7
"""From so many rows on int8 weights are multiplied in registers of 16 rows (measured)."""


@jit
def multiply(rows: Any, matrix: Any, layer: int, tile: int, first: int, end: int, out: Any) -> None:
    """out[m, 16 * tile + j] = (rows @ weight[layer].T)[m, ...] for j < 32 and first <= m < end.

    rows: `packed.Rows` made by `prepare`; matrix: `packed.Packed`; tile even; first a multiple of
    16; out [T, N'] float32, N' at least the packed number of columns. The bias is not added.
    """
    multiply_at(rows, matrix, layer, tile, first, end, out, 16 * tile)


def multiply_at(
    rows: Any, matrix: Any, layer: Any, tile: Any, first: Any, end: Any, out: Any, column: Any
) -> None:
    """`multiply` into out[m, column + j], where `out` may be as narrow as 32 columns.

    A matrix [512, N'] is more than the nearer caches hold, and writing it takes as long as the
    products do; who goes on with 32 columns at a time has them still at hand in [512, 32].
    """
    raise NotImplementedError  # compiled code only: the overload below


@overload(multiply_at)
def _multiply_at(
    rows: Any, matrix: Any, layer: Any, tile: Any, first: Any, end: Any, out: Any, column: Any
) -> Any:
    def few(
        rows: Any, matrix: Any, layer: Any, tile: Any, first: Any, end: Any, out: Any, column: Any
    ) -> None:
        weights, scales = matrix.weights[layer], matrix.scales[layer]
        lanes.multiply(rows.values, rows.scales, weights, scales, tile, first, end, out, column)

    def int8(
        rows: Any, matrix: Any, layer: Any, tile: Any, first: Any, end: Any, out: Any, column: Any
    ) -> None:
        weights, scales, steps = matrix.weights[layer], matrix.scales[layer], rows.scales
        if rows.blocks.shape[0] > 0 and end - first >= MIN_INT8_ROWS:
            tiles_amx.int8(rows.blocks, steps, weights, scales, tile, first, end, out, column)
        else:
            lanes.multiply(rows.values, steps, weights, scales, tile, first, end, out, column)

    def bf16(
        rows: Any, matrix: Any, layer: Any, tile: Any, first: Any, end: Any, out: Any, column: Any
    ) -> None:
        weights, scales = matrix.weights[layer], matrix.scales[layer]
        if rows.blocks.shape[0] > 0:
            tiles_amx.bf16(rows.blocks, weights, tile, first, end, out, column)
        else:
            lanes.multiply(rows.values, rows.scales, weights, scales, tile, first, end, out, column)

    if not amx.available():
        return few
    return {types.int8: int8, types.uint16: bf16, types.float32: few}[matrix.types[0].dtype]


def prepare(row: Any, width: Any, largest: Any, rows: Any, m: Any) -> None:
    """Write the first `width` float32 of `row` into line m of `rows`, in the form it has.

    largest: `packed.largest_activation` of the width. Of a row that holds a NaN or an infinity no
    product is finite.
    """
    raise NotImplementedError  # compiled code only: the overload below


@overload(prepare)
def _prepare(row: Any, width: Any, largest: Any, rows: Any, m: Any) -> Any:
    by_dtype = {
        types.int16: convert.to_integers,
        types.uint16: convert.to_bf16,
        types.float32: convert.to_f32,
    }
    write = by_dtype[rows.types[0].dtype]

    def prepare(row: Any, width: Any, largest: Any, rows: Any, m: Any) -> None:
        write(row, width, largest, rows, m)

    return prepare
