"""Tiles of 16 rows by 64 bytes as registers of numba code, and products of two of them (Intel AMX).

A CPU with AMX has eight such registers and one instruction that multiplies two and adds to a third:
16 x 16 sums over 64 int8 or 32 bfloat16 products each in 16 cycles, about ten times what its lanes
do. The registers have numbers, not values: `dot_i8(0, 4, 6)` adds to tile 0 the product of tiles 4
and 6. Numbers are constants of the program.

    sums    A [M, 16]                  M rows of 16 int32 or float32
    left    M rows of 64 bytes         64 int8 or 32 bfloat16 numbers of one row of activations
    right   16 rows of 64 bytes        `packed.py`'s order of 16 columns: 4 or 2 neighbours in k

Linux gives the registers to a process that asks (`allowed`). Code between `configure` and
`release` may be interrupted and resumed; a thread that is done should release, because tiles in
use make each of its switches slower by 8 KiB. Nothing but `available` and `allowed` can be called
from Python, and only code compiled where `available` may contain the rest.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sestina.kernels.simd import (
    I8,
    I16,
    I32,
    call,
    element_address,
    has_feature,
    room,
)

ROWS, BYTES = 16, 64
"""The largest tile."""

SUMS, LEFTS, RIGHTS = (0, 1, 2, 3), (4, 5), (6, 7)
"""Which register holds what: the sums of two left tiles times two right ones."""


def available() -> bool:
    """Whether this CPU has the tiles and the products of int8 and of bfloat16."""
    return all(has_feature(name) for name in ("amx-tile", "amx-int8", "amx-bf16"))


@functools.cache
def allowed() -> bool:
    """Whether this process may use the tiles; the first call asks, for all threads."""
    if not available():
        return False
    sys_arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    syscall = ctypes.CDLL(None).syscall
    return bool(syscall(sys_arch_prctl, request_permission, tile_data) == 0)


def _builds(function: Any) -> Any:
    """As `simd.builds`; numbers of tiles arrive as literals."""
    return intrinsic(prefer_literal=True)(function)


@_builds
def configure(typing: Any, upper: Any, lower: Any) -> Any:
    """Take the tiles into use, zeroed: `upper` rows in tiles 0, 2 and 4, `lower` in 1, 3 and 5."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        set_up(builder, *args)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), build


def set_up(builder: ir.IRBuilder, upper: Any, lower: Any) -> None:
    """`configure`, for code that builds code."""
    rows = [builder.trunc(count, I8) for count in (upper, lower)]
    shape = room(builder, ir.ArrayType(I8, 64))
    builder.store(ir.Constant(shape.type.pointee, None), shape)

    def put(offset: int, value: Any) -> None:
        place = builder.bitcast(builder.gep(shape, [I32(0), I32(offset)]), value.type.as_pointer())
        builder.store(value, place).align = 1

    put(0, I8(1))
    for tile in (*SUMS, *LEFTS, *RIGHTS):
        put(16 + 2 * tile, I16(BYTES))
        put(48 + tile, I8(ROWS) if tile in RIGHTS else rows[tile % 2])
    instruction(builder, "ldtilecfg", builder.bitcast(shape, I8.as_pointer()))


@_builds
def release(typing: Any) -> Any:
    """Give the tiles back."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _do(context, builder, "tilerelease")

    return types.void(), build


@_builds
def zero(typing: Any, tile: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _do(context, builder, "tilezero", I8(tile.literal_value))

    return types.void(tile), build


def _move(name: str) -> Any:
    """Between a tile and rows of 64 bytes of an array, each `stride` bytes after the last."""

    @_builds
    def move(typing: Any, tile: Any, array: Any, index: Any, stride: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = element_address(context, builder, signature, args, 1)
            pointer = builder.bitcast(pointer, I8.as_pointer())
            return _do(context, builder, name, I8(tile.literal_value), pointer, args[3])

        return types.void(tile, array, types.intp, types.intp), build

    return move


load, store = _move("tileloadd64"), _move("tilestored64")
"""(tile, array, index of the first element, stride)"""


def _dot(name: str) -> Any:
    """sums[m, n] += left[m, k] * right[k, n], all three named by their tiles."""

    @_builds
    def dot(typing: Any, sums: Any, left: Any, right: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            tiles = [I8(tile.literal_value) for tile in (sums, left, right)]
            return _do(context, builder, name, *tiles)

        return types.void(sums, left, right), build

    return dot


dot_i8 = _dot("tdpbssd")
"""int8 into int32"""
dot_bf16 = _dot("tdpbf16ps")
"""bfloat16 into float32; denormals count as zero"""


@_builds
def scratch(typing: Any) -> Any:
    """Room on the stack for as many int32 as four tiles of sums hold."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums = room(builder, ir.ArrayType(I32, len(SUMS) * ROWS * BYTES // 4))
        return builder.bitcast(sums, I32.as_pointer())

    pointer_to: Any = types.CPointer
    return pointer_to(types.int32)(), build


def _do(context: Any, builder: ir.IRBuilder, name: str, *args: Any) -> Any:
    instruction(builder, name, *args)
    return context.get_dummy_value()


def instruction(builder: ir.IRBuilder, name: str, *args: Any) -> None:
    """One of the tiles' instructions, by LLVM's name for it."""
    call(builder, "llvm.x86." + name, ir.VoidType(), args)
