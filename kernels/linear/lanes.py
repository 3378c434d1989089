"""Some rows times two tiles of 16 columns, with all sums in registers: the inner loop of `tiles`.

A step loads what the two tiles hold for the next k (float32), two k (bfloat16) or four k (int8),
and multiplies it by each row's numbers in all lanes. The sum of one element goes along k in one
order whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import overload

from sestina.kernels import simd, simd_narrow
from sestina.kernels.simd import F32, I8, I32, I64, builds, f32x16, i32x16
from sestina.kernels.simd_narrow import i16x32

AHEAD = 32 << 10
"""Bytes by which weights are fetched ahead (measured: 15-20 % of the time of one row). What a CPU
fetches by itself ends with each 4 KiB."""


class Kind(NamedTuple):
    """What a dtype of weights asks of the loop."""

    side: int  # neighbours in k: a step's
    word: ir.Type  # a row's numbers of one step
    lines: int  # registers of one tile's weights in one step, and of sums
    load: Callable[..., Any]  # (builder, pointer to 32 or 16 weights) -> a line
    multiply: Callable[..., Any]  # (builder, sum, line, word in all lanes) -> sum
    zero: Any


def _load_f32(builder: ir.IRBuilder, pointer: Any) -> Any:
    return simd.load(builder, pointer, f32x16.llvm)


def _multiply_f32(builder: ir.IRBuilder, total: Any, line: Any, word: Any) -> Any:
    return simd.call(builder, "llvm.fma.v16f32", f32x16.llvm, [line, word, total])


def _load_bf16(builder: ir.IRBuilder, pointer: Any) -> Any:
    return simd.load(builder, pointer, i16x32.llvm)


def _multiply_bf16(builder: ir.IRBuilder, total: Any, line: Any, word: Any) -> Any:
    return simd_narrow.dot_bf16(builder, total, line, builder.bitcast(word, i16x32.llvm))


def _load_int8(builder: ir.IRBuilder, pointer: Any) -> Any:
    return builder.sext(simd.load(builder, pointer, ir.VectorType(I8, 32)), i16x32.llvm)


def _multiply_int8(builder: ir.IRBuilder, total: Any, line: Any, word: Any) -> Any:
    return simd_narrow.dot_i16(builder, total, line, builder.bitcast(word, i16x32.llvm))


_KINDS: dict[types.Type, Kind] = {
    types.float32: Kind(1, F32, 1, _load_f32, _multiply_f32, f32x16),
    types.uint16: Kind(2, I32, 1, _load_bf16, _multiply_bf16, f32x16),
    types.int8: Kind(4, I64, 2, _load_int8, _multiply_int8, i32x16),
}


_SIZES = {types.float32: (12, 8, 4, 1), types.uint16: (12, 8, 4, 1), types.int8: (6, 4, 2, 1)}
"""Rows at a time; with the largest, sums and weights fill the 32 registers of AVX-512."""

_NARROW_SIZES = (2, 2, 2, 1)
"""... and those of CPUs without, where a line takes two registers or more."""


def multiply(
    values: Any, row_scales: Any, weights: Any, scales: Any,
    tile: Any, first: Any, end: Any, out: Any, column: Any,
) -> None:  # fmt: skip
    """`tiles.multiply_at` for values [T, K'] and one matrix' weights [N' * K'], scales [N']."""
    raise NotImplementedError  # compiled code only: the overload below


@overload(multiply)
def _multiply(
    values: Any, row_scales: Any, weights: Any, scales: Any,
    tile: Any, first: Any, end: Any, out: Any, column: Any,
) -> Any:  # fmt: skip
    sizes = _SIZES[weights.dtype] if simd.has_feature("avx512f") else _NARROW_SIZES
    size_a, size_b, size_c, size_d = sizes
    a, b, c, d = (product(weights.dtype, size) for size in sizes)

    def multiply(
        values: Any, row_scales: Any, weights: Any, scales: Any,
        tile: Any, first: Any, end: Any, out: Any, column: Any,
    ) -> None:  # fmt: skip
        width, last, m = values.shape[1], end - 1, first
        while m < end:  # the smallest size that holds what is left, or the largest
            if end - m > size_b:
                a(values, row_scales, weights, scales, width, tile, m, last, out, column)
                m += size_a
            elif end - m > size_c:
                b(values, row_scales, weights, scales, width, tile, m, last, out, column)
                m += size_b
            elif end - m > size_d:
                c(values, row_scales, weights, scales, width, tile, m, last, out, column)
                m += size_c
            else:
                d(values, row_scales, weights, scales, width, tile, m, last, out, column)
                m += size_d

    return multiply


def product(weight: types.Type, num_rows: int) -> Callable[..., None]:
    """A function for numba, of weights of type float32, uint16 (bfloat16 bits) or int8.

    product(values, row_scales, weights, scales, width, tile, m, last, out, column): `multiply` for
    rows m .. m + num_rows - 1, those beyond `last` being the last once more; width K'.
    """
    kind = _KINDS[weight]

    @builds
    def rows_times_tiles(
        typing: Any, values: Any, row_scales: Any, weights: Any, scales: Any,
        width: Any, tile: Any, m: Any, last: Any, out: Any, column: Any,
    ) -> Any:  # fmt: skip
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, row_steps, w, steps, y = (
                context.make_array(signature.args[at])(context, builder, args[at])
                for at in (0, 1, 2, 3, 8)
            )
            width, tile, m, last, _, column = args[4:]
            rows = [_at_most(builder, builder.add(m, I64(i)), last) for i in range(num_rows)]
            first = builder.mul(tile, I64(16))  # column of the matrix
            starts = [builder.gep(x.data, [builder.mul(row, width)]) for row in rows]
            tiles = [
                builder.gep(w.data, [builder.mul(builder.add(first, I64(16 * side)), width)])
                for side in (0, 1)
            ]
            sums = _loop(builder, kind, width, starts, tiles)
            out_width = builder.extract_value(y.shape, 1)
            for row, totals in zip(rows, sums, strict=True):
                row_step = builder.load(builder.gep(row_steps.data, [row]))
                for side, total in enumerate(totals):
                    if kind.lines == 2:
                        at = builder.add(first, I64(16 * side))
                        step = simd.load(builder, builder.gep(steps.data, [at]), f32x16.llvm)
                        total = builder.sitofp(total, f32x16.llvm)
                        total = builder.fmul(total, simd.splat(builder, row_step, 16))
                        total = builder.fmul(total, step)
                    at = builder.add(column, I64(16 * side))
                    place = builder.gep(y.data, [builder.add(builder.mul(row, out_width), at)])
                    simd.store(context, builder, total, place)
            return context.get_dummy_value()

        whole = types.intp
        arrays = values, row_scales, weights, scales
        return types.void(*arrays, whole, whole, whole, whole, out, whole), build

    return rows_times_tiles  # type: ignore[no-any-return]


def _loop(
    builder: ir.IRBuilder, kind: Kind, width: Any, starts: list[Any], tiles: list[Any]
) -> list[list[Any]]:
    """For each row, the sums of the two tiles."""
    lines = [(side, part) for side in range(len(tiles)) for part in range(kind.lines)]
    sums = [[simd.room(builder, kind.zero.llvm) for _ in lines] for _ in starts]
    for total in (total for row in sums for total in row):
        builder.store(ir.Constant(kind.zero.llvm, None), total)
    with cgutils.for_range(builder, builder.sdiv(width, I64(kind.side))) as loop:
        k = builder.mul(loop.index, I64(kind.side))
        places = [builder.gep(tile, [builder.mul(k, I64(16))]) for tile in tiles]
        for place in places:
            simd.prefetch_line(builder, place, AHEAD)
        weights = [
            kind.load(builder, builder.gep(places[s], [I64(32 * part)])) for s, part in lines
        ]
        for start, row in zip(starts, sums, strict=True):
            word = simd.load(builder, builder.gep(start, [k]), kind.word)
            word = simd.splat(builder, word, 64 * 8 // _bits(kind.word))
            for total, line in zip(row, weights, strict=True):
                builder.store(kind.multiply(builder, builder.load(total), line, word), total)
    totals = [[builder.load(total) for total in row] for row in sums]
    if kind.lines == 1:
        return totals
    return [
        [simd_narrow.add_pairs(builder, *row[:2]), simd_narrow.add_pairs(builder, *row[2:])]
        for row in totals
    ]


def _bits(word: ir.Type) -> int:
    return 32 if word is F32 else int(word.width)


def _at_most(builder: ir.IRBuilder, value: Any, most: Any) -> Any:
    return builder.select(builder.icmp_signed("<", value, most), value, most)
