"""Between rows of numbers, in pools and activations, and the scratch of `attend`."""

from __future__ import annotations

import numpy as np

from sestina.kernels.numba_jit import jit_exact
from sestina.kernels.paged_attention.plan import BLOCK
from sestina.kernels.paged_attention.scratch import block_places, widths
from sestina.kernels.simd import (
    f32_load,
    f32_mul,
    f32_splat,
    f32_store,
    f32_sum,
    f32_zero,
    prefetch,
)
from sestina.kernels.simd_matrix import (
    holds_bf16,
    word_copy,
    word_join,
    words_of_row,
    words_of_rows,
    words_transpose,
    words_transpose8,
)
from sestina.kernels.simd_narrow import bf16_of_f32, bf16_store


@jit_exact
def read_query(
    q: np.ndarray, source: int, head_dim: int, factor: np.float32, scratch: np.ndarray, row: int,
    bf16: bool,
) -> None:  # fmt: skip
    """One scaled query [D] from q[source] on, as words, at scratch[row]; padded with zeros."""
    words, _ = widths(head_dim, bf16)
    factors = f32_splat(factor)
    line = block_places(head_dim)[0]  # no keys lie there yet
    for d in range(0, head_dim, 32):
        if d + 32 <= head_dim:
            a, b = f32_load(q, source + d), f32_load(q, source + d + 16)
        else:
            f32_store(f32_zero(), scratch, line)
            f32_store(f32_zero(), scratch, line + 16)
            for i in range(head_dim - d):
                word_copy(q, source + d + i, scratch, line + i)
            a, b = f32_load(scratch, line), f32_load(scratch, line + 16)
        a, b = f32_mul(a, factors), f32_mul(b, factors)
        if bf16:
            bf16_store(bf16_of_f32(a, b), scratch, row + d // 2)
        else:
            f32_store(a, scratch, row + d)
            if d + 16 < words:
                f32_store(b, scratch, row + d + 16)


@jit_exact
def write_out(
    scratch: np.ndarray, mixed: int, sums: int, head_dim: int, out: np.ndarray, at: int
) -> None:
    """out[at : at + D] = the weighted sums at scratch[mixed], divided by the sum of the weights."""
    inverse = f32_splat(np.float32(1.0) / f32_sum(f32_load(scratch, sums)))
    whole = head_dim // 16 * 16
    for d in range(0, whole, 16):
        f32_store(f32_mul(f32_load(scratch, mixed + d), inverse), out, at + d)
    if whole < head_dim:
        f32_store(f32_mul(f32_load(scratch, mixed + whole), inverse), scratch, mixed + whole)
        for d in range(whole, head_dim):
            word_copy(scratch, mixed + d, out, at + d)


@jit_exact
def fetch(
    pool: np.ndarray, slots: np.ndarray, start: int, stop: int, column: int, width: int
) -> None:
    """Begin to fetch `width` numbers from `column` on of the slots of positions start .. stop - 1.

    Slots lie anywhere in memory, and a CPU guesses only what goes on as it began.
    """
    line = 32 if holds_bf16(pool) else 16
    for s in range(start, stop):
        first = slots[s] * pool.shape[1] + column
        for d in range(0, width, line):
            prefetch(pool, first + d)


@jit_exact
def copy_keys(
    pool: np.ndarray, slots: np.ndarray, start: int, stop: int, column: int, head_dim: int,
    scratch: np.ndarray,
) -> None:  # fmt: skip
    """Keys start .. stop - 1 as columns of words [words of a key, BLOCK].

    The last 16 columns repeat the last key; what the block holds beyond is never used.
    """
    bf16 = holds_bf16(pool)
    words, _ = widths(head_dim, bf16)
    keys = block_places(head_dim)[0]
    each = 2 if bf16 else 1
    width = pool.shape[1]
    for s in range(start, stop, 16):
        at = keys + s - start
        if head_dim % 16 == 0:
            for w in range(0, head_dim // each - 15, 16):
                place = column + each * w
                words_transpose(
                    pool, slots, s, stop - 1, width, place, scratch, at + w * BLOCK, BLOCK
                )
            if bf16 and head_dim % 32 == 16:
                w = words - 16
                place = column + 2 * w
                words_transpose8(
                    pool, slots, s, stop - 1, width, place, scratch, at + w * BLOCK, BLOCK
                )
        else:
            for i in range(16):
                source = slots[min(s + i, stop - 1)] * width + column
                for w in range(head_dim // each):
                    word_copy(pool, source + each * w, scratch, at + w * BLOCK + i)
                for w in range(head_dim // each, words):
                    scratch[at + w * BLOCK + i] = np.float32(0.0)


@jit_exact
def copy_values(
    pool: np.ndarray, slots: np.ndarray, start: int, stop: int, column: int, head_dim: int,
    scratch: np.ndarray,
) -> None:  # fmt: skip
    """Values start .. stop - 1 as rows: [BLOCK, D], or [BLOCK / 2, D] words of two values' numbers.

    Rows up to the next multiple of 32 repeat the last value, for weights of 0.
    """
    _, width = widths(head_dim, False)
    values = block_places(head_dim)[1]
    step = pool.shape[1]
    whole = head_dim // 16 * 16
    count = (stop - start + 31) // 32 * 32
    if holds_bf16(pool):
        for i in range(0, count, 2):
            low = slots[min(start + i, stop - 1)] * step + column
            high = slots[min(start + i + 1, stop - 1)] * step + column
            at = values + i // 2 * width
            for d in range(0, whole, 16):
                words_of_rows(pool, low + d, high + d, scratch, at + d)
            for d in range(whole, head_dim):
                word_join(pool, low + d, high + d, scratch, at + d)
            for d in range(head_dim, width):
                scratch[at + d] = np.float32(0.0)
    else:
        for i in range(count):
            source = slots[min(start + i, stop - 1)] * step + column
            at = values + i * width
            for d in range(0, whole, 16):
                words_of_row(pool, source + d, scratch, at + d)
            for d in range(whole, head_dim):
                word_copy(pool, source + d, scratch, at + d)
            for d in range(head_dim, width):
                scratch[at + d] = np.float32(0.0)
