"""Sixteen lanes as values of numba code: one 512-bit register, or what a CPU has instead.

A loop that LLVM vectorises by itself reaches a fraction of what a CPU can do where a sum is the
result: it picks narrow registers and few sums side by side. These functions are used like numbers
inside compiled code, and each becomes one or two instructions:

    total = f32_zero()
    for k in range(0, width, 16):
        total = f32_add(total, f32_mul(f32_load(x, k), f32_load(w, k)))
    return f32_sum(total)

Arrays are addressed as if flat, by the number of an element counted through all axes (no bounds
check, any alignment), so they must be C-contiguous. All but `dot_i16` and `dot_bf16` is LLVM that
any CPU has, in narrower registers if need be; those two are one instruction on CPUs with AVX-512
VNNI and BF16, and elsewhere the same sums in plain LLVM. Nothing here can be called from Python.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, register_model

F32, I8, I16, I32, I64 = ir.FloatType(), *(ir.IntType(bits) for bits in (8, 16, 32, 64))


class Vector(types.Type):
    """The numba type of `count` lanes of an LLVM type."""

    def __init__(self, name: str, lane: ir.Type, count: int) -> None:
        super().__init__(name)
        self.llvm = ir.VectorType(lane, count)


f32x16 = Vector("f32x16", F32, 16)
i32x16 = Vector("i32x16", I32, 16)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


def builds(function: Callable[..., Any]) -> Any:
    """A call of compiled code, from a function that returns its types and how to build it.

    numba's `intrinsic`, whose own type shows what builds the call and not what is called.
    """
    return intrinsic(function)


def has_feature(name: str) -> bool:
    """Whether this CPU, for which all is compiled, has an instruction set ("avx512vnni")."""
    chosen: str | None = getattr(config, "CPU_FEATURES")  # noqa: B009 (defined at run time)
    if chosen is not None:  # the user's word (NUMBA_CPU_FEATURES)
        return f"+{name}" in chosen.split(",")
    return bool(llvm.get_host_cpu_features().get(name, False))


# ---- memory -----------------------------------------------------------------------------------


def element_address(
    context: Any, builder: ir.IRBuilder, signature: Any, args: Any, first: int = 0
) -> Any:
    """Of the element that the arguments `first` (an array) and the next (an index) name."""
    if isinstance(signature.args[first], types.CPointer):
        return builder.gep(args[first], [args[first + 1]])
    array = context.make_array(signature.args[first])(context, builder, args[first])
    return builder.gep(array.data, [args[first + 1]])


def load(builder: ir.IRBuilder, pointer: Any, what: ir.Type) -> Any:
    value = builder.load(builder.bitcast(pointer, what.as_pointer()))
    value.align = 1
    return value


def store(context: Any, builder: ir.IRBuilder, value: Any, pointer: Any) -> Any:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 1
    return context.get_dummy_value()


def room(builder: ir.IRBuilder, what: ir.Type) -> Any:
    """Of the whole call, on the stack."""
    with builder.goto_entry_block():
        pointer = builder.alloca(what)
    pointer.align = 64
    return pointer


def prefetch_line(builder: ir.IRBuilder, pointer: Any, offset: int) -> None:
    """Fetch what lies `offset` bytes after a pointer into the second cache; no address is wrong."""
    place = builder.gep(builder.bitcast(pointer, I8.as_pointer()), [I64(offset)])
    call(builder, "llvm.prefetch.p0", ir.VoidType(), [place, I32(0), I32(2), I32(1)])


@builds
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Fetch the cache line of an element of an array into the second cache."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        prefetch_line(builder, element_address(context, builder, signature, args), 0)
        return context.get_dummy_value()

    return types.void(array, types.intp), build


def loader(vector: Vector) -> Any:
    """A call of compiled code, (array, index): a vector of the array's elements from there on."""

    @builds
    def loaded(typing: Any, array: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return load(builder, element_address(context, builder, signature, args), vector.llvm)

        return vector(array, types.intp), build

    return loaded


def storer(vector: Vector) -> Any:
    """A call of compiled code, (value, array, index): write a vector into the array."""

    @builds
    def stored(typing: Any, value: Any, array: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = element_address(context, builder, signature, args, 1)
            return store(context, builder, args[0], pointer)

        return types.void(vector, array, types.intp), build

    return stored


f32_load, f32_store = loader(f32x16), storer(f32x16)
"""16 lanes of a float32 array."""


@builds
def f32_load_first(typing: Any, array: Any, index: Any, count: Any) -> Any:
    """`count` lanes of a float32 array, 0 <= count < 16, and zeros; reads nothing else."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_address(context, builder, signature, args)
        pointer = builder.bitcast(pointer, f32x16.llvm.as_pointer())
        count = splat(builder, builder.trunc(args[2], I32), 16)
        lanes = ir.Constant(i32x16.llvm, list(range(16)))
        wanted = builder.icmp_signed("<", lanes, count)
        nothing = ir.Constant(f32x16.llvm, None)
        name = "llvm.masked.load.v16f32.p0"
        return call(builder, name, f32x16.llvm, [pointer, I32(1), wanted, nothing])

    return f32x16(array, types.intp, types.intp), build


# ---- one float32 per lane ---------------------------------------------------------------------


@builds
def f32_zero(typing: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(f32x16.llvm, None)

    return f32x16(), build


@builds
def f32_splat(typing: Any, value: Any) -> Any:
    """The same number in all lanes."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return splat(builder, args[0], 16)

    return f32x16(types.float32), build


def lane_by_lane(vector: Vector, operation: Callable[[ir.IRBuilder, Any, Any], Any]) -> Any:
    """A call of compiled code that makes one vector of two of the same kind."""

    @builds
    def joined(typing: Any, a: Any, b: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return operation(builder, *args)

        return vector(vector, vector), build

    return joined


def larger(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _smaller(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


f32_add = lane_by_lane(f32x16, ir.IRBuilder.fadd)
f32_sub = lane_by_lane(f32x16, ir.IRBuilder.fsub)
f32_mul = lane_by_lane(f32x16, ir.IRBuilder.fmul)
f32_div = lane_by_lane(f32x16, ir.IRBuilder.fdiv)
f32_max = lane_by_lane(f32x16, larger)
"""The larger one; b where either is NaN."""
f32_min = lane_by_lane(f32x16, _smaller)
"""The smaller one; b where either is NaN."""


@builds
def f32_sum(typing: Any, a: Any) -> Any:
    """The lanes' sum, pairs first: ((0+8)+(4+12)) + ..., the same on all CPUs."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fold(builder, args[0], builder.fadd)

    return types.float32(f32x16), build


@builds
def f32_top(typing: Any, a: Any) -> Any:
    """The largest lane."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fold(builder, args[0], functools.partial(larger, builder))

    return types.float32(f32x16), build


@builds
def f32_first(typing: Any, count: Any, a: Any, b: Any) -> Any:
    """The first `count` lanes of a (none if negative), those of b after them."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = ir.Constant(ir.VectorType(I64, 16), list(range(16)))
        mask = builder.icmp_signed("<", lanes, splat(builder, args[0], 16))
        return builder.select(mask, args[1], args[2])

    return f32x16(types.intp, f32x16, f32x16), build


def _exp2(coefficients: tuple[float, ...]) -> Any:
    """2**x, x = n + r with n whole and |r| <= 1/2: 2**n by its bits times a polynomial of r."""

    @builds
    def exp2(typing: Any, x: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def splat_of(value: float) -> Any:
                return ir.Constant(f32x16.llvm, [F32(value)] * 16)

            lowest = splat_of(-126.0)
            x = builder.select(builder.fcmp_ordered("<", args[0], lowest), lowest, args[0])
            shifted = builder.fadd(x, splat_of(1.5 * 2**23))  # n in the lowest bits
            r = builder.fsub(x, builder.fsub(shifted, splat_of(1.5 * 2**23)))
            power = splat_of(coefficients[0])
            for coefficient in coefficients[1:]:
                power = call(
                    builder, "llvm.fma.v16f32", f32x16.llvm, [power, r, splat_of(coefficient)]
                )
            n = builder.shl(builder.bitcast(shifted, i32x16.llvm), constant(23, i32x16))
            bits = builder.add(builder.bitcast(power, i32x16.llvm), n)
            return builder.bitcast(bits, f32x16.llvm)

        return f32x16(f32x16), build

    return exp2


f32_exp2 = _exp2(
    (
        1.535336188319500e-4, 1.339887440266574e-3, 9.618437357674640e-3,
        5.550332471162809e-2, 2.402264791363012e-1, 6.931472028550421e-1, 1.0,
    )
)  # fmt: skip
"""2**x for x <= 126 to 1e-7 (Cephes exp2f); below -126 it is 2**-126."""

LOG2_E = np.float32(1.4426950408889634)
"""e**x is 2**(LOG2_E * x)."""

f32_exp2_rough = _exp2((5.500893148e-02, 2.422109662e-01, 6.932829278e-01, 1.0))
"""`f32_exp2` to 1.0e-04: for a result that goes on in bfloat16; 2**n is exact."""


# ---- building blocks --------------------------------------------------------------------------


def constant(value: int, vector: Vector) -> Any:
    return splat_of(value, vector.llvm)


def splat_of(value: int, typ: Any) -> Any:
    return ir.Constant(typ, [value] * typ.count)


def splat(builder: ir.IRBuilder, value: Any, count: int) -> Any:
    undefined = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    one = builder.insert_element(undefined, value, I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, count), None))


def fold(builder: ir.IRBuilder, value: Any, join: Any) -> Any:
    """All lanes joined, upper half onto lower half."""
    while value.type.count > 1:
        half = value.type.count // 2
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(I32, half), list(range(at, at + half)))
            )
            for at in (0, half)
        )
        value = join(low, high)
    return builder.extract_element(value, I32(0))


def call(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)
