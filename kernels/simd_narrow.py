"""Lanes of integers, and of bfloat16, beside the float32 ones of `simd`.

32 bfloat16, or int16, lie in a register of sixteen float32. `dot_i16` and `dot_bf16` multiply such
pairs into sixteen sums: one instruction on CPUs with AVX-512 VNNI and BF16, the same sums in plain
LLVM elsewhere.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types

from sestina.kernels.simd import (
    I8,
    I16,
    I32,
    Vector,
    builds,
    call,
    constant,
    element_address,
    f32x16,
    fold,
    has_feature,
    i32x16,
    lane_by_lane,
    loader,
    splat_of,
    store,
    storer,
)

i16x32 = Vector("i16x32", I16, 32)
bf16x32 = Vector("bf16x32", I16, 32)  # as bits


# ---- memory -----------------------------------------------------------------------------------


i32_load = loader(i32x16)
"""16 lanes of an int32 array."""
bf16_store = storer(bf16x32)
"""Write 32 lanes into an array of bfloat16 bits (uint16)."""


@builds
def i16_store(typing: Any, value: Any, array: Any, index: Any) -> Any:
    """Write the lower 16 bits of 16 int32 lanes into an int16 array."""
    return _store_narrow(I16, array)


@builds
def i8_store(typing: Any, value: Any, array: Any, index: Any) -> Any:
    """Write the lower 8 bits of 16 int32 lanes into an int8 array."""
    return _store_narrow(I8, array)


def _store_narrow(lane: ir.Type, array: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.trunc(args[0], ir.VectorType(lane, 16))
        pointer = element_address(context, builder, signature, args, 1)
        return store(context, builder, value, pointer)

    return types.void(i32x16, array, types.intp), build


# ---- integers ---------------------------------------------------------------------------------


@builds
def i32_zero(typing: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(i32x16.llvm, None)

    return i32x16(), build


def dot_i16(builder: ir.IRBuilder, total: Any, a: Any, b: Any) -> Any:
    """total[i] + a[2i] * b[2i] + a[2i + 1] * b[2i + 1], int16 in int32; wraps around."""
    if has_feature("avx512vnni"):
        a, b = (builder.bitcast(arg, i32x16.llvm) for arg in (a, b))
        return call(builder, "llvm.x86.avx512.vpdpwssd.512", i32x16.llvm, [total, a, b])
    a, b = (builder.sext(arg, ir.VectorType(I32, 32)) for arg in (a, b))
    return builder.add(total, builder.add(*_pairs(builder, builder.mul(a, b))))


def add_pairs(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    """a[0] + a[1], a[2] + a[3], ..., then those of b."""
    every = ir.VectorType(I32, 16)
    sides = [
        builder.shuffle_vector(a, b, ir.Constant(every, list(range(side, 32, 2))))
        for side in (0, 1)
    ]
    return builder.add(*sides)


@builds
def i32_size_of_f32(typing: Any, a: Any) -> Any:
    """The bits of |a|: integers in the order of the numbers, infinity and NaN last."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], i32x16.llvm)
        return builder.and_(bits, constant(0x7FFFFFFF, i32x16))

    return i32x16(f32x16), build


def _larger(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed(">", a, b), a, b)


i32_max = lane_by_lane(i32x16, _larger)


@builds
def i32_top(typing: Any, a: Any) -> Any:
    """The largest lane."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fold(builder, args[0], functools.partial(_larger, builder))

    return types.int32(i32x16), build


@builds
def i32_rint(typing: Any, a: Any) -> Any:
    """The nearest integers, ties to even; of numbers that int32 holds."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fptosi(call(builder, "llvm.rint.v16f32", f32x16.llvm, args), i32x16.llvm)

    return i32x16(f32x16), build


@builds
def i32_high(typing: Any, a: Any) -> Any:
    """a / 128, rounded to nearest: what times 128 leaves a rest in -64..63."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ashr(builder.add(args[0], constant(64, i32x16)), constant(7, i32x16))

    return i32x16(i32x16), build


@builds
def i32_low(typing: Any, a: Any, high: Any) -> Any:
    """a - 128 * high."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sub(args[0], builder.shl(args[1], constant(7, i32x16)))

    return i32x16(i32x16, i32x16), build


@builds
def i32_join(typing: Any, high: Any, low: Any) -> Any:
    """128 * high + low."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.add(builder.shl(args[0], constant(7, i32x16)), args[1])

    return i32x16(i32x16, i32x16), build


@builds
def f32_of_i32(typing: Any, a: Any) -> Any:
    """Rounded to nearest."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sitofp(args[0], f32x16.llvm)

    return f32x16(i32x16), build


def _pairs(builder: ir.IRBuilder, value: Any) -> list[Any]:
    """The even lanes and the odd ones."""
    half = ir.VectorType(I32, value.type.count // 2)
    return [
        builder.shuffle_vector(
            value, value, ir.Constant(half, list(range(side, value.type.count, 2)))
        )
        for side in (0, 1)
    ]


# ---- bfloat16 ---------------------------------------------------------------------------------


@builds
def bf16_of_f32(typing: Any, a: Any, b: Any) -> Any:
    """The lanes of a, then those of b, rounded to nearest even; of finite numbers.

    The instruction flushes denormals.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if has_feature("avx512bf16"):
            name, pairs = "llvm.x86.avx512bf16.cvtne2ps2bf16.512", ir.VectorType(Bfloat(), 32)
            return builder.bitcast(call(builder, name, pairs, args[::-1]), bf16x32.llvm)
        order = ir.Constant(ir.VectorType(I32, 32), list(range(32)))
        bits = builder.bitcast(builder.shuffle_vector(*args, order), ir.VectorType(I32, 32))
        many = {"typ": ir.VectorType(I32, 32)}
        last = builder.and_(builder.lshr(bits, splat_of(16, **many)), splat_of(1, **many))
        rounded = builder.add(bits, builder.add(last, splat_of(0x7FFF, **many)))
        return builder.trunc(builder.lshr(rounded, splat_of(16, **many)), bf16x32.llvm)

    return bf16x32(f32x16, f32x16), build


@builds
def i32_bf16_of_f32(typing: Any, a: Any) -> Any:
    """bfloat16 bits in the lower half of each lane, rounded to nearest even; NaN stays NaN."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits, shift = builder.bitcast(args[0], i32x16.llvm), constant(16, i32x16)
        last = builder.and_(builder.lshr(bits, shift), constant(1, i32x16))
        rounded = builder.add(bits, builder.add(last, constant(0x7FFF, i32x16)))
        is_nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(is_nan, constant(0x7FC0, i32x16), builder.lshr(rounded, shift))

    return i32x16(f32x16), build


def dot_bf16(builder: ir.IRBuilder, total: Any, a: Any, b: Any) -> Any:
    """total[i] + a[2i] * b[2i] + a[2i + 1] * b[2i + 1] in float32.

    The instruction flushes denormals and rounds each step; the plain form rounds as float32 does.
    """
    if has_feature("avx512bf16"):
        name, pairs = "llvm.x86.avx512bf16.dpbf16ps.512", ir.VectorType(Bfloat(), 32)
        a, b = (builder.bitcast(arg, pairs) for arg in (a, b))
        return call(builder, name, f32x16.llvm, [total, a, b])
    return _bf16_dot_plain(builder, total, a, b)


def _bf16_dot_plain(builder: ir.IRBuilder, total: Any, a: Any, b: Any) -> Any:
    """The odd numbers are the upper halves of 32-bit words, the even ones the lower."""
    a, b = (builder.bitcast(bits, i32x16.llvm) for bits in (a, b))
    upper = constant(-65536, i32x16)
    for part in (
        lambda bits: builder.and_(bits, upper),
        lambda bits: builder.shl(bits, constant(16, i32x16)),
    ):
        x, y = (builder.bitcast(part(bits), f32x16.llvm) for bits in (a, b))
        total = call(builder, "llvm.fma.v16f32", f32x16.llvm, [x, y, total])
    return total


class Bfloat(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bfloat)

    def __hash__(self) -> int:
        return hash(Bfloat)
