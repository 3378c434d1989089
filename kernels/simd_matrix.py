"""Blocks of a matrix as one step of numba code: transposed, interleaved, multiplied in registers.

The unit is the 32-bit word: one float32, or two neighbouring bfloat16. A product of matrices of
words, C[r, n] += A[r, k] * B[k, n], is then the same loop for both: a word of A in all lanes, 16
words of a row of B, and a fused multiply-add or a bf16 dot. AMX multiplies the same layouts, 16
rows at a time. All matrices lie in float32 arrays (of a scratch, mostly) and are named by array,
first element, and elements from one row to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from sestina.kernels import amx, simd, simd_narrow
from sestina.kernels.simd import I8, I16, I32, I64, builds, f32x16, has_feature, i32x16


def is_bf16(array: Any) -> bool:
    """Whether a numba array type holds the bits of bfloat16."""
    return bool(array.dtype == types.uint16)


@builds
def holds_bf16(typing: Any, array: Any) -> Any:
    """Whether an array is uint16 (the bits of bfloat16); a constant of the compiled code."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(1), int(is_bf16(signature.args[0])))

    return types.boolean(array), build


@builds
def words_to_line(typing: Any, array: Any) -> Any:
    """Elements of a float32 array before the first that starts a cache line of 64 bytes."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        bytes_over = builder.and_(builder.neg(builder.ptrtoint(data, I64)), I64(63))
        return builder.lshr(bytes_over, I64(2))

    return types.intp(array), build


# ---- words out of rows of numbers -------------------------------------------------------------


@builds
def word_copy(typing: Any, array: Any, index: Any, dest: Any, at: Any) -> Any:
    """dest[at] = the word that starts at array[index]: a float32, or that bfloat16 and the next."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = simd.element_address(context, builder, signature, args)
        word = simd.load(builder, source, I32)
        return simd.store(
            context, builder, word, simd.element_address(context, builder, signature, args, 2)
        )

    return types.void(array, types.intp, dest, types.intp), build


@builds
def word_join(typing: Any, array: Any, low: Any, high: Any, dest: Any, at: Any) -> Any:
    """dest[at] = the bfloat16 array[low] and, above it, array[high]."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = context.make_array(signature.args[0])(context, builder, args[0]).data
        low, high = (
            builder.zext(simd.load(builder, builder.gep(base, [index]), I16), I32)
            for index in args[1:3]
        )
        word = builder.or_(low, builder.shl(high, I32(16)))
        return simd.store(
            context, builder, word, simd.element_address(context, builder, signature, args, 3)
        )

    return types.void(array, types.intp, types.intp, dest, types.intp), build


def _transposer(num_words: int) -> Callable[..., None]:
    @builds
    def transposed(
        typing: Any, array: Any, rows: Any, first: Any, last: Any, width: Any, column: Any,
        dest: Any, at: Any, stride: Any,
    ) -> Any:  # fmt: skip
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            base = context.make_array(signature.args[0])(context, builder, args[0]).data
            names = context.make_array(signature.args[1])(context, builder, args[1]).data
            lines = []
            for i in range(16):
                s = builder.add(args[2], I64(i))
                s = builder.select(builder.icmp_signed("<", s, args[3]), s, args[3])
                row = builder.sext(builder.load(builder.gep(names, [s])), I64)
                start = builder.gep(base, [builder.add(builder.mul(row, args[4]), args[5])])
                lines.append(_line(builder, start, num_words))
            target = simd.element_address(context, builder, signature, args, 6), args[8]
            for w, line in enumerate(_transpose(builder, lines)):
                simd.store(context, builder, line, _at(builder, target, I64(w), 0))
            return context.get_dummy_value()

        whole = types.intp
        return types.void(array, rows, whole, whole, whole, whole, dest, whole, whole), build

    return transposed  # type: ignore[no-any-return]


words_transpose = _transposer(16)
"""words_transpose(array, rows, first, last, width, column, dest, at, stride):

dest[at + stride * w + i] = word w < 16 from `column` on of row rows[min(first + i, last)], i < 16,
of an array whose rows have `width` elements.
"""

words_transpose8 = _transposer(8)
"""`words_transpose` of 8 words; words 8 .. 15 become 0."""


@builds
def words_of_row(typing: Any, array: Any, index: Any, dest: Any, at: Any) -> Any:
    """dest[at : at + 16] = 16 float32 from array[index] on."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = simd.load(
            builder, simd.element_address(context, builder, signature, args), i32x16.llvm
        )
        return simd.store(
            context, builder, line, simd.element_address(context, builder, signature, args, 2)
        )

    return types.void(array, types.intp, dest, types.intp), build


@builds
def words_of_rows(typing: Any, array: Any, low: Any, high: Any, dest: Any, at: Any) -> Any:
    """dest[at + d] = the bfloat16 array[low + d] and, above it, array[high + d]; d < 16."""
    many = ir.VectorType(I16, 16)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = context.make_array(signature.args[0])(context, builder, args[0]).data
        low, high = (
            builder.zext(simd.load(builder, builder.gep(base, [index]), many), i32x16.llvm)
            for index in args[1:3]
        )
        line = builder.or_(low, builder.shl(high, simd.constant(16, i32x16)))
        return simd.store(
            context, builder, line, simd.element_address(context, builder, signature, args, 3)
        )

    return types.void(array, types.intp, types.intp, dest, types.intp), build


def _line(builder: ir.IRBuilder, start: Any, num_words: int) -> Any:
    """16 words, or 8 and 8 zeros."""
    if num_words == 16:
        return simd.load(builder, start, i32x16.llvm)
    eight = simd.load(builder, start, ir.VectorType(I32, 8))
    nothing = ir.Constant(eight.type, None)
    return _shuffle(builder, eight, nothing, list(range(16)))


def _shuffle(builder: ir.IRBuilder, a: Any, b: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(order)), order))


def _transpose(builder: ir.IRBuilder, lines: list[Any]) -> list[Any]:
    """16 lines of 16: first 4 x 4 within quarters of registers, then the quarters; 64 shuffles."""
    quarters = range(0, 16, 4)
    singles = [
        [q + lane for q in quarters for lane in low] for low in ((0, 16, 1, 17), (2, 18, 3, 19))
    ]
    doubles = [
        [q + lane for q in quarters for lane in low] for low in ((0, 1, 16, 17), (2, 3, 18, 19))
    ]
    mixed: list[Any] = []  # line 4 g + j: quarter b has column 4 b + j of lines 4 g .. 4 g + 3
    for g in quarters:
        a, b, c, d = lines[g : g + 4]
        ab = [_shuffle(builder, a, b, order) for order in singles]
        cd = [_shuffle(builder, c, d, order) for order in singles]
        mixed += [_shuffle(builder, ab[j // 2], cd[j // 2], doubles[j % 2]) for j in range(4)]
    out: list[Any] = [None] * 16
    for j in range(4):
        a, b, c, d = mixed[j::4]
        for half in range(2):
            order = [8 * half + lane for lane in range(8)]
            both = order + [16 + lane for lane in order]
            ab, cd = _shuffle(builder, a, b, both), _shuffle(builder, c, d, both)
            for one in range(2):
                order = [4 * one + lane for lane in (0, 1, 2, 3, 8, 9, 10, 11)]
                pick = order + [16 + lane for lane in order]
                out[4 * (2 * half + one) + j] = _shuffle(builder, ab, cd, pick)
    return out


# ---- reductions -------------------------------------------------------------------------------


@builds
def rows_top(typing: Any, array: Any, at: Any, stride: Any) -> Any:
    """Lane i: the largest of array[at + stride * i :][:64], i < 16; with a NaN, any of the 64."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        matrix = simd.element_address(context, builder, signature, args), args[2]
        rows = []
        for i in range(16):
            places = (_at(builder, matrix, I64(i), 16 * j) for j in range(4))
            a, b, c, d = (simd.load(builder, place, f32x16.llvm) for place in places)
            rows.append(
                simd.larger(builder, simd.larger(builder, a, b), simd.larger(builder, c, d))
            )
        return _tops(builder, rows)

    return f32x16(array, types.intp, types.intp), build


def _tops(builder: ir.IRBuilder, rows: list[Any]) -> Any:
    """The largest lane of each of 16 vectors, as one vector: a tree in which each step puts two
    vectors' halves beside each other, first within quarters, then quarters."""
    quarters = range(0, 16, 4)
    within = [
        [[q + lane for q in quarters for lane in order] for order in orders]
        for orders in (((0, 16, 1, 17), (2, 18, 3, 19)), ((0, 1, 16, 17), (2, 3, 18, 19)))
    ]
    whole = [
        [[4 * q + lane for q in order for lane in range(4)] for order in orders]
        for orders in (((0, 1, 4, 5), (2, 3, 6, 7)), ((0, 2, 4, 6), (1, 3, 5, 7)))
    ]
    for low, high in (*within, *whole):
        rows = [
            simd.larger(builder, _shuffle(builder, a, b, low), _shuffle(builder, a, b, high))
            for a, b in zip(rows[::2], rows[1::2], strict=True)
        ]
    return rows[0]


# ---- products ---------------------------------------------------------------------------------

Matrix = tuple[Any, Any]  # address of the first element, and elements from one row to the next


def block_product(num_rows: int, num_lines: int) -> Callable[..., None]:
    """A function for numba: C (+)= A B, with C `num_rows` x 16 `num_lines` held in registers.

    product(A, B, C: array, first, stride each, depth, fresh, pairs): A [num_rows, depth] words, B
    [depth, 16 num_lines] words, C float32. `fresh` starts from 0 and not from what C holds; `pairs`
    says that words are two bfloat16 and not a float32. Each element of C sums over k in order, from
    C on, whatever `num_rows` and `num_lines` are.
    """

    @builds
    def product(
        typing: Any, a: Any, a_at: Any, a_stride: Any, b: Any, b_at: Any, b_stride: Any,
        c: Any, c_at: Any, c_stride: Any, depth: Any, fresh: Any, pairs: Any,
    ) -> Any:  # fmt: skip
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, b, c = (_matrix(context, builder, signature, args, first) for first in (0, 3, 6))
            totals = {
                (i, j): cgutils.alloca_once(builder, f32x16.llvm)
                for i in range(num_rows)
                for j in range(num_lines)
            }
            for (i, j), total in totals.items():
                old = simd.load(builder, _at(builder, c, I64(i), 16 * j), f32x16.llvm)
                nothing = ir.Constant(f32x16.llvm, None)
                builder.store(builder.select(args[10], nothing, old), total)
            with builder.if_else(args[11]) as (two_each, one_each):
                with two_each:
                    _add_products(builder, a, b, totals, args[9], _dot_pairs)
                with one_each:
                    _add_products(builder, a, b, totals, args[9], _multiply_add)
            for (i, j), total in totals.items():
                place = _at(builder, c, I64(i), 16 * j)
                simd.store(context, builder, builder.load(total), place)
            return context.get_dummy_value()

        whole = types.intp
        kinds = [kind for array in (a, b, c) for kind in (array, whole, whole)]
        return types.void(*kinds, whole, types.boolean, types.boolean), build

    return product  # type: ignore[no-any-return]


def _add_products(
    builder: Any, a: Matrix, b: Matrix, totals: dict[tuple[int, int], Any], depth: Any, add: Any
) -> None:
    """totals[i, j] = add(word of A, 16 words of B, totals[i, j]), for all k in order."""
    rows, columns = (sorted(set(places)) for places in zip(*totals, strict=True))
    with cgutils.for_range(builder, depth) as loop:
        lines = [
            simd.load(builder, _at(builder, b, loop.index, 16 * j), i32x16.llvm) for j in columns
        ]
        for i in rows:
            base = _at(builder, a, I64(i), 0)
            word = simd.load(builder, builder.gep(base, [loop.index]), I32)
            word = simd.splat(builder, word, 16)
            for j, line in zip(columns, lines, strict=True):
                total = totals[i, j]
                builder.store(add(builder, word, line, builder.load(total)), total)


def _matrix(context: Any, builder: Any, signature: Any, args: Any, first: int) -> Matrix:
    return simd.element_address(context, builder, signature, args, first), args[first + 2]


def _at(builder: ir.IRBuilder, matrix: Any, row: Any, column: int) -> Any:
    start, stride = matrix
    return builder.gep(start, [builder.add(builder.mul(row, stride), I64(column))])


def _dot_pairs(builder: ir.IRBuilder, word: Any, line: Any, total: Any) -> Any:
    halves = ir.VectorType(I16, 32)
    a, b = builder.bitcast(word, halves), builder.bitcast(line, halves)
    return simd_narrow.dot_bf16(builder, total, a, b)


def _multiply_add(builder: ir.IRBuilder, word: Any, line: Any, total: Any) -> Any:
    a, b = builder.bitcast(word, f32x16.llvm), builder.bitcast(line, f32x16.llvm)
    return simd.call(builder, "llvm.fma.v16f32", f32x16.llvm, [a, b, total])


# ---- AMX --------------------------------------------------------------------------------------


@builds
def tiles_begin(typing: Any, array: Any, rows: Any) -> Any:
    """Take the tiles into use for `tile_product` of so many rows; the array is ignored."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if has_feature("amx-tile"):
            amx.set_up(builder, args[1], args[1])
        return context.get_dummy_value()

    return types.void(array, types.intp), build


@builds
def tiles_end(typing: Any, array: Any) -> Any:
    """Free the tiles, so that a thread switch need not save them; the argument is ignored."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if has_feature("amx-tile"):
            amx.instruction(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(array), build


def tile_product(num_lines: int) -> Callable[..., None]:
    """`block_product` of pairs by AMX; depth a multiple of 16, num_lines at most 4.

    Between `tiles_begin` and `tiles_end`, where `amx.allowed()`. Nothing on other CPUs, so that
    code that may not get here still compiles.
    """

    @builds
    def product(
        typing: Any, a: Any, a_at: Any, a_stride: Any, b: Any, b_at: Any, b_stride: Any,
        c: Any, c_at: Any, c_stride: Any, depth: Any, fresh: Any,
    ) -> Any:  # fmt: skip
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if not has_feature("amx-bf16"):
                return context.get_dummy_value()
            a, b, c = (_matrix(context, builder, signature, args, first) for first in (0, 3, 6))
            with builder.if_else(args[10]) as (new, old):
                with new:
                    for j in range(num_lines):
                        amx.instruction(builder, "tilezero", I8(j))
                with old:
                    for j in range(num_lines):
                        _tile_move(builder, "tileloadd64", j, _at(builder, c, I64(0), 16 * j), c)
            with cgutils.for_range_slice(builder, I64(0), args[9], I64(16)) as (k, _):
                start = builder.gep(a[0], [k])
                _tile_move(builder, "tileloadd64", 4, start, a)
                for j in range(num_lines):
                    place = amx.RIGHTS[j % 2]
                    _tile_move(builder, "tileloadd64", place, _at(builder, b, k, 16 * j), b)
                    amx.instruction(builder, "tdpbf16ps", I8(j), I8(4), I8(place))
            for j in range(num_lines):
                _tile_move(builder, "tilestored64", j, _at(builder, c, I64(0), 16 * j), c)
            return context.get_dummy_value()

        whole = types.intp
        kinds = [kind for array in (a, b, c) for kind in (array, whole, whole)]
        return types.void(*kinds, whole, types.boolean), build

    return product  # type: ignore[no-any-return]


def _tile_move(builder: ir.IRBuilder, name: str, tile: int, start: Any, matrix: Any) -> None:
    """Between tile `tile` and 16 rows from `start` on; the instruction's stride is in bytes."""
    place = builder.bitcast(start, I8.as_pointer())
    amx.instruction(builder, name, I8(tile), place, builder.mul(matrix[1], I64(4)))
