"""What a row of logits is looked through for: its largest, the best that a mask allows, and how
much probability a mask forbids. Each reads the row once."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from sestina.kernels.numba_jit import exp_f32, jit_exact
from sestina.kernels.simd import (
    LOG2_E,
    builds,
    f32_add,
    f32_exp2,
    f32_load,
    f32_max,
    f32_mul,
    f32_splat,
    f32_sub,
    f32_sum,
    f32_top,
    f32_zero,
    f32x16,
)

MINUS_INF = np.float32(-np.inf)

LOWEST = np.finfo(np.float32).min

SPAN = 1024
"""Logits whose largest is compared with the best so far: the id is looked for in one span alone."""


@builds
def _where(typing: Any, bits: Any, a: Any, b: Any) -> Any:
    """Lane by lane a where a bit of an int32 is set (the lowest is lane 0's), else b."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        low = builder.trunc(args[0], ir.IntType(16))
        flags = builder.bitcast(low, ir.VectorType(ir.IntType(1), 16))
        return builder.select(flags, args[1], args[2])

    return f32x16(types.int32, f32x16, f32x16), build


@jit_exact
def largest(row: NDArray[np.float32]) -> Any:
    """The largest logit and the first id that has it, -1 if all are -inf; NaN where one is NaN or
    +inf."""
    num_whole = len(row) // SPAN * SPAN
    broken = f32_zero()
    top, where = MINUS_INF, -1
    for start in range(0, num_whole, SPAN):
        a = b = f32_splat(MINUS_INF)
        for i in range(start, start + SPAN, 32):
            x, y = f32_load(row, i), f32_load(row, i + 16)
            a, b = f32_max(x, a), f32_max(y, b)
            broken = f32_add(broken, f32_add(_zero_or_nan(x), _zero_or_nan(y)))
        best = f32_top(f32_max(a, b))
        if best > top:
            top, where = best, start
    is_broken = f32_sum(broken) != np.float32(0.0)  # NaN is
    for i in range(num_whole, len(row)):
        is_broken |= not row[i] < np.inf
        if row[i] > top:
            top, where = row[i], i
    if is_broken:
        return np.float32(np.nan), np.int32(-1)
    if where >= 0:
        while row[where] != top:
            where += 1
    return top, np.int32(where)


@jit_exact
def _zero_or_nan(x: Any) -> Any:
    """NaN where a lane is NaN or +inf, else 0."""
    return f32_mul(f32_zero(), f32_max(f32_splat(LOWEST), x))


@jit_exact
def best_allowed(row: NDArray[np.float32], words: NDArray[np.int32]) -> Any:
    """The allowed id with the largest logit above -inf, the lowest of equals; -1 if none.

    The row has no NaN.
    """
    reach = min(len(row), 32 * len(words))
    num_whole = reach // 32
    top, where = MINUS_INF, -1
    for first in range(0, num_whole, SPAN // 32):
        a = b = f32_splat(MINUS_INF)
        for w in range(first, min(num_whole, first + SPAN // 32)):
            if words[w] != 0:
                a = _where(words[w], f32_max(f32_load(row, w * 32), a), a)
                b = _where(words[w] >> np.int32(16), f32_max(f32_load(row, w * 32 + 16), b), b)
        best = f32_top(f32_max(a, b))
        if best > top:
            top, where = best, first * 32
    for i in range(num_whole * 32, reach):
        if row[i] > top and _is_set(words, i):
            top, where = row[i], i
    if where >= 0:
        while row[where] != top or not _is_set(words, where):
            where += 1
    return np.int32(where)


@jit_exact
def _is_set(words: NDArray[np.int32], i: int) -> Any:
    return (words[i >> 5] >> np.int32(i & 31)) & np.int32(1)


@jit_exact
def forbidden_mass(row: NDArray[np.float32], words: NDArray[np.int32], top: np.float32) -> Any:
    """The share of softmax(row) on forbidden ids; `top` is the row's largest logit. A diagnostic:
    sums of float32, of a span at a time, are exact enough."""
    if top == MINUS_INF:
        return np.float32(0.0)
    num_whole = len(row) // 32
    zero = f32_zero()
    allowed, forbidden = 0.0, 0.0
    for first in range(0, num_whole, SPAN // 32):
        inside, outside = zero, zero
        for w in range(first, min(num_whole, first + SPAN // 32)):
            word = words[w] if w < len(words) else np.int32(0)
            low, high = _weights(row, w * 32, top), _weights(row, w * 32 + 16, top)
            inside = f32_add(inside, _where(word, low, zero))
            inside = f32_add(inside, _where(word >> np.int32(16), high, zero))
            outside = f32_add(outside, _where(word, zero, low))
            outside = f32_add(outside, _where(word >> np.int32(16), zero, high))
        allowed += np.float64(f32_sum(inside))
        forbidden += np.float64(f32_sum(outside))
    for i in range(num_whole * 32, len(row)):
        weight = np.float64(exp_f32(row[i] - top))
        if i < 32 * len(words) and _is_set(words, i):
            allowed += weight
        else:
            forbidden += weight
    return np.float32(forbidden / (allowed + forbidden))


@jit_exact
def _weights(row: NDArray[np.float32], start: int, top: np.float32) -> Any:
    """e**(logit - top) of 16 ids."""
    gap = f32_sub(f32_load(row, start), f32_splat(top))
    return f32_exp2(f32_mul(gap, f32_splat(LOG2_E)))
