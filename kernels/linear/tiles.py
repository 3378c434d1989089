"""x @ weight.T in lanes: 32 columns of the result at a time, from weights packed for it.

`packed.py` has the layouts. Each kernel takes two neighbouring tiles of 16 columns and all rows
of `x`, four rows at a time: a weight is read from memory once, and from the nearest cache for
every further four rows. The sum of one element goes along k in one order whatever the number of
rows, so a row's result does not depend on its company.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from sestina.kernels import amx, simd
from sestina.kernels.linear import convert, tiles_amx
from sestina.kernels.numba_jit import jit_exact as jit

MIN_INT8_ROWS = 5
"""From so many rows on int8 weights are multiplied in registers of 16 rows (measured)."""


def multiply(rows: Any, matrix: Any, layer: Any, tile: Any, num_rows: Any, out: Any) -> None:
    """out[m, 16 * tile + j] = (rows @ weight[layer].T)[m, ...] for j < 32 and all m < num_rows.

    rows: `packed.Rows` made by `prepare`; matrix: `packed.Packed`; tile even; out [T, N'] float32,
    N' the packed number of columns. The bias is not added.
    """
    raise NotImplementedError  # compiled code only: the overload below


@overload(multiply)
def _multiply(rows: Any, matrix: Any, layer: Any, tile: Any, num_rows: Any, out: Any) -> Any:
    by_dtype = {types.int16: _int8, types.uint16: _bf16, types.float32: _f32}
    kernel = by_dtype[rows.types[0].dtype]
    many_int8, many_bf16 = tiles_amx.int8, tiles_amx.bf16

    def multiply(rows: Any, matrix: Any, layer: Any, tile: Any, num_rows: Any, out: Any) -> None:
        weights, scales = matrix.weights[layer], matrix.scales[layer]
        kernel(rows.values, rows.scales, weights, scales, tile, num_rows, out)

    def multiply_int8(
        rows: Any, matrix: Any, layer: Any, tile: Any, num_rows: Any, out: Any
    ) -> None:
        weights, scales = matrix.weights[layer], matrix.scales[layer]
        if rows.blocks.shape[0] > 0 and num_rows >= MIN_INT8_ROWS:
            many_int8(rows.blocks, rows.scales, weights, scales, tile, num_rows, out)
        else:
            kernel(rows.values, rows.scales, weights, scales, tile, num_rows, out)

    def multiply_bf16(
        rows: Any, matrix: Any, layer: Any, tile: Any, num_rows: Any, out: Any
    ) -> None:
        weights, scales = matrix.weights[layer], matrix.scales[layer]
        if rows.blocks.shape[0] > 0:
            many_bf16(rows.blocks, weights, tile, num_rows, out)
        else:
            kernel(rows.values, rows.scales, weights, scales, tile, num_rows, out)

    if not amx.available() or rows.types[0].dtype is types.float32:
        return multiply
    return multiply_int8 if rows.types[0].dtype is types.int16 else multiply_bf16


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


@jit
def _int8(
    rows: Any, row_scales: Any, weights: Any, scales: Any, tile: int, num_rows: int, out: Any
) -> None:
    width = rows.shape[1]
    num_fours = num_rows // 4
    for four in range(num_fours):
        _int8_four(rows, row_scales, weights, scales, tile, 4 * four, out)
    first = tile * 16 * width
    second = first + 16 * width
    for m in range(4 * num_fours, num_rows):
        at = m * width
        a0 = a1 = b0 = b1 = simd.i32_zero()
        for k in range(0, width, 4):
            x = simd.i16_splat4(rows, at + k)
            a0 = simd.i32_dot(a0, simd.i16_load_i8(weights, first + 16 * k), x)
            a1 = simd.i32_dot(a1, simd.i16_load_i8(weights, first + 16 * k + 32), x)
            b0 = simd.i32_dot(b0, simd.i16_load_i8(weights, second + 16 * k), x)
            b1 = simd.i32_dot(b1, simd.i16_load_i8(weights, second + 16 * k + 32), x)
        _int8_end(a0, a1, b0, b1, row_scales, scales, tile, m, out)


@jit
def _int8_four(
    rows: Any, row_scales: Any, weights: Any, scales: Any, tile: int, m: int, out: Any
) -> None:
    width = rows.shape[1]
    first = tile * 16 * width
    second = first + 16 * width
    p, q, r, s = m * width, (m + 1) * width, (m + 2) * width, (m + 3) * width
    pa0 = pa1 = pb0 = pb1 = simd.i32_zero()
    qa0 = qa1 = qb0 = qb1 = simd.i32_zero()
    ra0 = ra1 = rb0 = rb1 = simd.i32_zero()
    sa0 = sa1 = sb0 = sb1 = simd.i32_zero()
    for k in range(0, width, 4):
        a0 = simd.i16_load_i8(weights, first + 16 * k)
        a1 = simd.i16_load_i8(weights, first + 16 * k + 32)
        b0 = simd.i16_load_i8(weights, second + 16 * k)
        b1 = simd.i16_load_i8(weights, second + 16 * k + 32)
        x = simd.i16_splat4(rows, p + k)
        pa0, pa1 = simd.i32_dot(pa0, a0, x), simd.i32_dot(pa1, a1, x)
        pb0, pb1 = simd.i32_dot(pb0, b0, x), simd.i32_dot(pb1, b1, x)
        x = simd.i16_splat4(rows, q + k)
        qa0, qa1 = simd.i32_dot(qa0, a0, x), simd.i32_dot(qa1, a1, x)
        qb0, qb1 = simd.i32_dot(qb0, b0, x), simd.i32_dot(qb1, b1, x)
        x = simd.i16_splat4(rows, r + k)
        ra0, ra1 = simd.i32_dot(ra0, a0, x), simd.i32_dot(ra1, a1, x)
        rb0, rb1 = simd.i32_dot(rb0, b0, x), simd.i32_dot(rb1, b1, x)
        x = simd.i16_splat4(rows, s + k)
        sa0, sa1 = simd.i32_dot(sa0, a0, x), simd.i32_dot(sa1, a1, x)
        sb0, sb1 = simd.i32_dot(sb0, b0, x), simd.i32_dot(sb1, b1, x)
    _int8_end(pa0, pa1, pb0, pb1, row_scales, scales, tile, m, out)
    _int8_end(qa0, qa1, qb0, qb1, row_scales, scales, tile, m + 1, out)
    _int8_end(ra0, ra1, rb0, rb1, row_scales, scales, tile, m + 2, out)
    _int8_end(sa0, sa1, sb0, sb1, row_scales, scales, tile, m + 3, out)


@jit
def _int8_end(
    a0: Any, a1: Any, b0: Any, b1: Any, row_scales: Any, scales: Any, tile: int, m: int, out: Any
) -> None:
    """Two tiles' sums, two lanes a column, into their row of `out`."""
    column = 16 * tile
    at = m * out.shape[1] + column
    scale = simd.f32_splat(row_scales[m])
    a = simd.f32_of_i32(simd.i32_add_pairs(a0, a1))
    b = simd.f32_of_i32(simd.i32_add_pairs(b0, b1))
    simd.f32_store(simd.f32_mul(simd.f32_mul(a, scale), simd.f32_load(scales, column)), out, at)
    b = simd.f32_mul(simd.f32_mul(b, scale), simd.f32_load(scales, column + 16))
    simd.f32_store(b, out, at + 16)


@jit
def _bf16(
    rows: Any, row_scales: Any, weights: Any, scales: Any, tile: int, num_rows: int, out: Any
) -> None:
    width = rows.shape[1]
    first = tile * 16 * width
    second = first + 16 * width
    last = num_rows - 1
    for m in range(0, num_rows, 4):  # a short last group repeats its last row
        m1, m2, m3 = min(m + 1, last), min(m + 2, last), min(m + 3, last)
        p, q, r, s = m * width, m1 * width, m2 * width, m3 * width
        pa = pb = qa = qb = ra = rb = sa = sb = simd.f32_zero()
        for k in range(0, width, 2):
            a = simd.bf16_load(weights, first + 16 * k)
            b = simd.bf16_load(weights, second + 16 * k)
            x = simd.bf16_splat2(rows, p + k)
            pa, pb = simd.bf16_dot(pa, a, x), simd.bf16_dot(pb, b, x)
            x = simd.bf16_splat2(rows, q + k)
            qa, qb = simd.bf16_dot(qa, a, x), simd.bf16_dot(qb, b, x)
            x = simd.bf16_splat2(rows, r + k)
            ra, rb = simd.bf16_dot(ra, a, x), simd.bf16_dot(rb, b, x)
            x = simd.bf16_splat2(rows, s + k)
            sa, sb = simd.bf16_dot(sa, a, x), simd.bf16_dot(sb, b, x)
        _float_end(pa, pb, tile, m, out)
        _float_end(qa, qb, tile, m1, out)
        _float_end(ra, rb, tile, m2, out)
        _float_end(sa, sb, tile, m3, out)


@jit
def _f32(
    rows: Any, row_scales: Any, weights: Any, scales: Any, tile: int, num_rows: int, out: Any
) -> None:
    width = rows.shape[1]
    first = tile * 16 * width
    second = first + 16 * width
    last = num_rows - 1
    for m in range(0, num_rows, 4):  # a short last group repeats its last row
        m1, m2, m3 = min(m + 1, last), min(m + 2, last), min(m + 3, last)
        pa = pb = qa = qb = ra = rb = sa = sb = simd.f32_zero()
        for k in range(width):
            a = simd.f32_load(weights, first + 16 * k)
            b = simd.f32_load(weights, second + 16 * k)
            x = simd.f32_splat(rows[m, k])
            pa, pb = simd.f32_fma(a, x, pa), simd.f32_fma(b, x, pb)
            x = simd.f32_splat(rows[m1, k])
            qa, qb = simd.f32_fma(a, x, qa), simd.f32_fma(b, x, qb)
            x = simd.f32_splat(rows[m2, k])
            ra, rb = simd.f32_fma(a, x, ra), simd.f32_fma(b, x, rb)
            x = simd.f32_splat(rows[m3, k])
            sa, sb = simd.f32_fma(a, x, sa), simd.f32_fma(b, x, sb)
        _float_end(pa, pb, tile, m, out)
        _float_end(qa, qb, tile, m1, out)
        _float_end(ra, rb, tile, m2, out)
        _float_end(sa, sb, tile, m3, out)


@jit
def _float_end(a: Any, b: Any, tile: int, m: int, out: Any) -> None:
    at = m * out.shape[1] + 16 * tile
    simd.f32_store(a, out, at)
    simd.f32_store(b, out, at + 16)
