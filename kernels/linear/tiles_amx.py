"""The products of `tiles` in registers of 16 rows: for many rows, on CPUs that have them.

Two left tiles times two right ones at a time, so that each tile loaded is used twice. Weights
are right tiles as `packed.py` stores them; activations are left tiles in `Rows.blocks`.

int8: an activation a is two left tiles' worth, a = 128 * high + low with both in -64..63. Each has
its own sums, which are exact, and so is what they are put together to: the bits of the result are
those of the lanes' kernel. bfloat16: pairs of products are added to a sum in another order than in
lanes, so the two differ in rounding; but each of them goes along k in one order for any row.
"""

from __future__ import annotations

from typing import Any

from sestina.kernels import amx, simd, simd_narrow
from sestina.kernels.numba_jit import jit_exact as jit


@jit
def int8(
    blocks: Any, row_scales: Any, weights: Any, scales: Any,
    tile: int, begin: int, end: int, out: Any, column: int,
) -> None:  # fmt: skip
    """As `tiles.multiply_at`, for rows `begin` .. end - 1 of `blocks`.

    While tiles are multiplied, the lanes finish the 16 rows before.
    """
    width = blocks.shape[1] // 32
    first = tile * 16 * width
    second = first + 16 * width
    sums = amx.scratch()
    ended, share = begin, -(-16 * 64 // width)  # rows finished, and to finish in each step
    lines = _lines_a_step(end - begin, 16)
    ahead = first + 32 * width  # the next two tiles, fetched meanwhile
    amx.configure(min(end - begin, 16), min(end - begin, 16))
    for m in range(begin, end, 16):
        left = m * 2 * width
        amx.zero(0)
        amx.zero(1)
        amx.zero(2)
        amx.zero(3)
        for k in range(0, width, 64):
            amx.load(4, blocks, left + 32 * k, 64)
            amx.load(6, weights, first + 16 * k, 64)
            amx.dot_i8(0, 4, 6)
            amx.load(5, blocks, left + 32 * k + 1024, 64)
            amx.dot_i8(1, 5, 6)
            amx.load(7, weights, second + 16 * k, 64)
            for line in range(lines):
                simd.prefetch(weights, ahead + 64 * line)
            ahead += 64 * lines
            for row in range(ended, min(ended + share, m)):
                _int8_end(sums, 16 * (row % 16), row_scales, scales, tile, row, out, column)
            ended = min(ended + share, m)
            amx.dot_i8(2, 4, 7)
            amx.dot_i8(3, 5, 7)
        amx.store(0, sums, 0, 64)
        amx.store(1, sums, 256, 64)
        amx.store(2, sums, 512, 64)
        amx.store(3, sums, 768, 64)
    amx.release()
    for row in range(ended, end):
        _int8_end(sums, 16 * (row % 16), row_scales, scales, tile, row, out, column)


@jit
def _int8_end(
    sums: Any, at: int, row_scales: Any, scales: Any, tile: int, m: int, out: Any, column: int
) -> None:
    """High and low sums of two tiles, one row of each, into their row of `out`."""
    scale = simd.f32_splat(row_scales[m])
    first = 16 * tile
    a = simd_narrow.i32_join(simd_narrow.i32_load(sums, at), simd_narrow.i32_load(sums, at + 256))
    b = simd_narrow.i32_join(
        simd_narrow.i32_load(sums, at + 512), simd_narrow.i32_load(sums, at + 768)
    )
    x = simd.f32_mul(simd.f32_mul(simd_narrow.f32_of_i32(a), scale), simd.f32_load(scales, first))
    y = simd.f32_mul(
        simd.f32_mul(simd_narrow.f32_of_i32(b), scale), simd.f32_load(scales, first + 16)
    )
    simd.f32_store(x, out, m * out.shape[1] + column)
    simd.f32_store(y, out, m * out.shape[1] + column + 16)


@jit
def bf16(blocks: Any, weights: Any, tile: int, begin: int, end: int, out: Any, column: int) -> None:
    """As `tiles.multiply_at`, for rows `begin` .. end - 1 of `blocks`."""
    width = blocks.shape[1] // 16
    lines = _lines_a_step(end - begin, 32)
    ahead = 16 * (tile + 2) * width
    for m in range(begin, end, 32):
        rows = end - m
        if m == begin or rows < 32:
            amx.configure(min(rows, 16), min(max(rows - 16, 1), 16))
        if rows > 16:
            _bf16_two(blocks, weights, tile, m, ahead, lines, out, column)
        else:
            _bf16_one(blocks, weights, tile, m, ahead, lines, out, column)
        ahead += width * lines
    amx.release()


@jit
def _lines_a_step(num_rows: int, height: int) -> int:
    """Cache lines to fetch in each step, so that the next two tiles are there when their turn is.

    A step uses 32 lines of the present two, once for each `height` rows.
    """
    return -(-32 // -(-num_rows // height))


@jit
def _bf16_two(
    blocks: Any, weights: Any, tile: int, m: int, ahead: int, lines: int, out: Any, column: int
) -> None:
    width = blocks.shape[1] // 16
    first = tile * 16 * width
    second = first + 16 * width
    upper = m * width
    lower = upper + 16 * width
    amx.zero(0)
    amx.zero(1)
    amx.zero(2)
    amx.zero(3)
    for k in range(0, 16 * width, 512):
        amx.load(4, blocks, upper + k, 64)
        amx.load(6, weights, first + k, 64)
        amx.dot_bf16(0, 4, 6)
        amx.load(5, blocks, lower + k, 64)
        amx.dot_bf16(1, 5, 6)
        amx.load(7, weights, second + k, 64)
        for line in range(lines):
            simd.prefetch(weights, ahead + 32 * line)
        ahead += 32 * lines
        amx.dot_bf16(2, 4, 7)
        amx.dot_bf16(3, 5, 7)
    stride = out.shape[1]
    at = m * stride + column
    amx.store(0, out, at, 4 * stride)
    amx.store(2, out, at + 16, 4 * stride)
    amx.store(1, out, at + 16 * stride, 4 * stride)
    amx.store(3, out, at + 16 * stride + 16, 4 * stride)


@jit
def _bf16_one(
    blocks: Any, weights: Any, tile: int, m: int, ahead: int, lines: int, out: Any, column: int
) -> None:
    width = blocks.shape[1] // 16
    first = tile * 16 * width
    second = first + 16 * width
    amx.zero(0)
    amx.zero(2)
    for k in range(0, 16 * width, 512):
        amx.load(4, blocks, m * width + k, 64)
        amx.load(6, weights, first + k, 64)
        amx.dot_bf16(0, 4, 6)
        amx.load(7, weights, second + k, 64)
        for line in range(lines):
            simd.prefetch(weights, ahead + 32 * line)
        ahead += 32 * lines
        amx.dot_bf16(2, 4, 7)
    at = m * out.shape[1] + column
    amx.store(0, out, at, 4 * out.shape[1])
    amx.store(2, out, at + 16, 4 * out.shape[1])
