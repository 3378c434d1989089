"""Rows between the dtypes of packed weights and pools, and float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from sestina.kernels import simd
from sestina.kernels.linear import convert
from sestina.kernels.linear.cpu import widen
from sestina.kernels.linear.packed import TILE
from sestina.kernels.linear.tiles import prepare
from sestina.kernels.numba_jit import jit_exact
from sestina.kernels.numba_jit import jit_team as jit


def embed(token_id: Any, embedding: Any, out: Any) -> None:
    """out [C] float32 = row `token_id` of the packed embedding."""
    raise NotImplementedError  # compiled code only: the overload below


@overload(embed)
def _embed(token_id: Any, embedding: Any, out: Any) -> Any:
    side = {types.float32: 1, types.uint16: 2, types.int8: 4}[embedding.types[0].dtype]
    as_float = _widen if side == 2 else _as_float

    def embed(token_id: Any, embedding: Any, out: Any) -> None:
        weights, scale = embedding.weights[0], embedding.scales[0, token_id]
        width = weights.shape[0] // embedding.scales.shape[1]
        first = token_id // TILE * TILE * width + token_id % TILE * side
        for k in range(out.shape[0]):
            at = first + k // side * side * TILE + k % side
            out[k] = as_float(weights[at]) * scale

    return embed


def store(values: Any, out: Any) -> None:
    """Write float32 into a pool of float32, or of bfloat16 bits (rounded to nearest, ties even)."""
    raise NotImplementedError  # compiled code only: the overload below


@overload(store)
def _store(values: Any, out: Any) -> Any:
    convert = _narrow if out.dtype is types.uint16 else _same

    def store(values: Any, out: Any) -> None:
        for d in range(values.shape[0]):
            out[d] = convert(values[d])

    return store


@jit_exact
def silu_mul(both: Any, at: int) -> Any:
    """Sixteen of silu(gate) * up, from 16 gates at both[at] and their ups behind them."""
    gate, up = simd.f32_load(both, at), simd.f32_load(both, at + 16)
    power = simd.f32_mul(gate, simd.f32_splat(-simd.LOG2_E))
    power = simd.f32_min(simd.f32_splat(np.float32(126.0)), power)
    below = simd.f32_add(simd.f32_splat(np.float32(1.0)), simd.f32_exp2(power))
    return simd.f32_div(simd.f32_mul(gate, up), below)


def put_inner(lanes: Any, gated: Any, rows: Any, m: Any, column: Any) -> None:
    """Sixteen numbers of row m of the inner activations, from `column` on.

    bfloat16 goes at once where the next matrix reads it; integers need the whole row's largest
    number first, so they wait in `gated` for `prepare_inner`.
    """
    raise NotImplementedError  # compiled code only: the overload below


@overload(put_inner)
def _put_inner(lanes: Any, gated: Any, rows: Any, m: Any, column: Any) -> Any:
    def at_once(lanes: Any, gated: Any, rows: Any, m: Any, column: Any) -> None:
        convert.put_bf16(lanes, rows, m, column)

    def later(lanes: Any, gated: Any, rows: Any, m: Any, column: Any) -> None:
        simd.f32_store(lanes, gated, m * gated.shape[1] + column)

    return at_once if rows.types[0].dtype is types.uint16 else later


def prepare_inner(gated: Any, width: Any, largest: Any, rows: Any, m: Any) -> None:
    """`tiles.prepare` of a whole row, where `put_inner` has not done it."""
    raise NotImplementedError  # compiled code only: the overload below


@overload(prepare_inner)
def _prepare_inner(gated: Any, width: Any, largest: Any, rows: Any, m: Any) -> Any:
    def done(gated: Any, width: Any, largest: Any, rows: Any, m: Any) -> None:
        pass

    def whole(gated: Any, width: Any, largest: Any, rows: Any, m: Any) -> None:
        prepare(gated[m], width, largest, rows, m)

    return done if rows.types[0].dtype is types.uint16 else whole


@jit
def _same(value: Any) -> Any:
    return value


@jit
def _as_float(value: Any) -> Any:
    return np.float32(value)


@jit
def _widen(bits: Any) -> Any:
    return widen(bits, np.uint32(16))


@jit
def _narrow(value: Any) -> Any:
    if value != value:
        return np.uint16(0x7FC0)
    bits = np.float32(value).view(np.uint32)
    even = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + even) >> np.uint32(16))
