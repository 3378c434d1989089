"""One row of float32 activations into the form that stands beside packed weights; see `Rows`.

All write where the kernels will look: into line m of `values`, into tiles, or both. Tiles lie 16
rows below each other, 64 bytes of each, and those of a row's next 64 bytes follow. What is beyond
`width` is zero and stays so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sestina.kernels import simd, simd_narrow
from sestina.kernels.numba_jit import jit_exact as jit

SMALLEST = np.float32(1e-34)
"""Rows of nothing larger count as zeros: integers over their largest may be infinite."""


@jit
def to_integers(row: Any, width: int, largest: np.float32, rows: Any, m: int) -> None:
    """Integers of up to `largest`, rounded to nearest even, and the scale they are multiples of.

    A row with a NaN or an infinity becomes zeros with a scale of NaN.
    """
    tops = simd_narrow.i32_zero()
    for k in range(0, width, 16):
        tops = simd_narrow.i32_max(tops, simd_narrow.i32_size_of_f32(_lanes(row, k, width)))
    top = np.int32(simd_narrow.i32_top(tops)).view(np.float32)
    if not top < np.float32(np.inf):
        rows.scales[m] = np.float32(np.nan)
        for k in range(0, width, 16):
            _put_integers(simd_narrow.i32_zero(), rows, m, k)
        return
    rows.scales[m] = top / largest
    inverse = simd.f32_splat(largest / top if top > SMALLEST else np.float32(0.0))
    for k in range(0, width, 16):
        _put_integers(
            simd_narrow.i32_rint(simd.f32_mul(_lanes(row, k, width), inverse)), rows, m, k
        )


@jit
def _put_integers(lanes: Any, rows: Any, m: int, k: int) -> None:
    width = rows.values.shape[1]
    simd_narrow.i16_store(lanes, rows.values, m * width + k)
    if rows.blocks.shape[0] > 0:
        high = simd_narrow.i32_high(lanes)
        at = (m // 16) * rows.blocks.shape[1] + (k // 64) * 2048 + (m % 16) * 64 + k % 64
        simd_narrow.i8_store(high, rows.blocks, at)
        simd_narrow.i8_store(simd_narrow.i32_low(lanes, high), rows.blocks, at + 1024)


@jit
def to_bf16(row: Any, width: int, largest: np.float32, rows: Any, m: int) -> None:
    """Rounded to nearest even; NaN stays NaN."""
    for k in range(0, width, 16):
        put_bf16(_lanes(row, k, width), rows, m, k)


@jit
def put_bf16(lanes: Any, rows: Any, m: int, k: int) -> None:
    """16 numbers of a row, from number k on."""
    bits = simd_narrow.i32_bf16_of_f32(lanes)
    if rows.blocks.shape[0] > 0:
        at = (m // 16) * rows.blocks.shape[1] + (k // 32) * 512 + (m % 16) * 32 + k % 32
        simd_narrow.i16_store(bits, rows.blocks, at)
    else:
        simd_narrow.i16_store(bits, rows.values, m * rows.values.shape[1] + k)


@jit
def to_f32(row: Any, width: int, largest: np.float32, rows: Any, m: int) -> None:
    for k in range(width):
        rows.values[m, k] = row[k]


@jit
def _lanes(row: Any, k: int, width: int) -> Any:
    if k + 16 <= width:
        return simd.f32_load(row, k)
    return simd.f32_load_first(row, k, width - k)
