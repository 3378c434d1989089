"""attend: one KV head for a run of new tokens of one sequence, compiled, for compiled callers.

Blocks of keys at fixed positions, as in Dao, "FlashAttention-2", 2023: a block of K and V is copied
out of its pages into the layout that the products want, and all queries of the item (rows: tokens
times heads of the group) pass over it, a tile of rows at a time. Each row keeps the largest score,
the sum of the weights and the weighted sum of V in float32 and rescales them when the largest
score grows. Scores are in units of log 2 (the scale of the queries holds the factor).

What a row computes depends on its position alone: the products sum in the order of the head's
dimensions and of the keys whatever the tile's height, masked keys weigh exactly 0, and block
borders are multiples of a constant. So a token's result is bitwise the same however the tokens
are split into items.
"""

from __future__ import annotations

import numpy as np

from sestina.kernels import amx
from sestina.kernels.numba_jit import jit_exact
from sestina.kernels.paged_attention.products import TILE, multiply
from sestina.kernels.simd import (
    f32_add,
    f32_exp2,
    f32_exp2_rough,
    f32_first,
    f32_load,
    f32_max,
    f32_mul,
    f32_splat,
    f32_store,
    f32_sub,
    f32_sum,
    f32_top,
    f32_zero,
)
from sestina.kernels.simd_matrix import (
    holds_bf16,
    tiles_begin,
    tiles_end,
    word_copy,
    word_join,
    words_of_row,
    words_of_rows,
    words_to_line,
    words_transpose,
    words_transpose8,
)
from sestina.kernels.simd_narrow import bf16_of_f32, bf16_store

BLOCK = 64
"""Keys of a block."""

HEADER = 16
TILES = np.float32(0x414D58)
"""In the first number of a scratch: this process may use AMX."""

LOG2_E = np.float32(1.4426950408889634)
LOWEST = np.float32(-3.0e38)


ITEM_TOKENS = 256
"""New tokens of an item beyond which its queries and sums no longer stay in a core's cache."""


def scratch_len(num_tokens: int, group: int, head_dim: int) -> int:
    """float32 numbers that `attend` needs for up to `num_tokens` new tokens of `group` heads."""
    return 16 + int(_layout(num_tokens * group, head_dim)[-1])


def prepare(scratch: np.ndarray) -> None:
    """Once, before a scratch is first used: note whether this process may use AMX.

    Without it bfloat16 products take the slower instruction, if the scratch begins with a 0.
    """
    scratch[0] = TILES if amx.allowed() else np.float32(0.0)


@jit_exact
def _layout(num_rows: int, head_dim: int) -> tuple[int, ...]:
    """Where in the scratch lie: largest scores, sums, queries, out, K, V, scores, weights; end."""
    rows = (num_rows + 16) // 16 * 16 + 16  # whole tiles of any height
    width = (head_dim + 31) // 32 * 32
    tops = HEADER
    sums = tops + rows
    queries = sums + 16 * rows
    mixed = queries + rows * width
    keys = mixed + rows * width
    values = keys + width * BLOCK
    scores = values + BLOCK * width
    weights = scores + TILE * BLOCK
    return tops, sums, queries, mixed, keys, values, scores, weights, weights + TILE * BLOCK


@jit_exact
def attend(
    q: np.ndarray,  # [T, W] float32; query head h of a token in columns h * D ..
    k_pool: np.ndarray,  # [P, G * D] float32, or uint16: the bits of bfloat16
    v_pool: np.ndarray,
    slots: np.ndarray,  # [S] int32: pool row of each position
    seen: int,  # positions that token t0 sees, itself included; token t sees seen + t - t0
    t0: int,
    t1: int,
    kv_head: int,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    scale: np.float32,
    scratch: np.ndarray,  # [scratch_len(...)] float32, of one thread
    out: np.ndarray,  # [T, H * D] float32
) -> None:
    """Write out[t, h] for t0 <= t < t1 and the query heads of `kv_head`.

    With bfloat16 pools, queries and weights are rounded to bfloat16 too; sums are float32.
    """
    group = num_heads // num_kv_heads
    num_rows = (t1 - t0) * group
    tiles = holds_bf16(k_pool) and scratch[0] == TILES
    scratch = scratch[words_to_line(scratch) :]  # half the time of tiles that straddle lines
    tile = TILE if tiles else 12
    if tiles:
        tiles_begin(scratch)
    _read_queries(q, t0, t1, kv_head * group, group, head_dim, scale, scratch, holds_bf16(k_pool))
    end = seen + t1 - t0 - 1
    for start in range(0, end, BLOCK):
        stop = min(start + BLOCK, end)
        _copy_keys(k_pool, slots, start, stop, kv_head, num_rows, head_dim, scratch)
        _copy_values(v_pool, slots, start, stop, kv_head, num_rows, head_dim, scratch)
        first = max(0, start - seen + 1) * group  # earlier rows see nothing of the block
        for row in range(first // tile * tile, num_rows, tile):
            _pass_over(
                row, num_rows, group, seen - start, head_dim, scratch, holds_bf16(k_pool), tiles
            )
    if tiles:
        tiles_end(scratch)
    _write_out(t0, t1, kv_head * group, group, head_dim, scratch, out)


@jit_exact
def _widths(head_dim: int, bf16: bool) -> tuple[int, int]:
    """Words of a query or key, a multiple of 16, and float32 of a value, the same."""
    lines = (head_dim + 15) // 16
    return ((lines + 1) // 2 if bf16 else lines) * 16, lines * 16


@jit_exact
def _read_queries(
    q: np.ndarray,
    t0: int,
    t1: int,
    first_head: int,
    group: int,
    head_dim: int,
    scale: np.float32,
    scratch: np.ndarray,
    bf16: bool,
) -> None:
    """Scaled queries as rows of words, and the state of a softmax over nothing."""
    num_rows = (t1 - t0) * group
    tops, sums, queries, _mixed, keys = _layout(num_rows, head_dim)[:5]
    words, _width = _widths(head_dim, bf16)
    scratch[tops:sums] = LOWEST
    scratch[sums:keys] = np.float32(0.0)  # and rows and columns that pad
    factor = f32_splat(scale * LOG2_E)
    line = keys  # 32 numbers at a time pass through here
    for t in range(t0, t1):
        for h in range(group):
            row = queries + ((t - t0) * group + h) * words
            source = t * q.shape[1] + (first_head + h) * head_dim
            for d in range(0, head_dim, 32):
                count = min(32, head_dim - d)
                f32_store(f32_zero(), scratch, line)
                f32_store(f32_zero(), scratch, line + 16)
                for i in range(count):
                    word_copy(q, source + d + i, scratch, line + i)
                a = f32_mul(f32_load(scratch, line), factor)
                b = f32_mul(f32_load(scratch, line + 16), factor)
                if bf16:
                    bf16_store(bf16_of_f32(a, b), scratch, row + d // 2)
                else:
                    f32_store(a, scratch, row + d)
                    if d + 16 < words:
                        f32_store(b, scratch, row + d + 16)


@jit_exact
def _copy_keys(
    pool: np.ndarray,
    slots: np.ndarray,
    start: int,
    stop: int,
    kv_head: int,
    num_rows: int,
    head_dim: int,
    scratch: np.ndarray,
) -> None:
    """Keys start .. stop - 1 as columns of words [words of a key, BLOCK].

    The last 16 columns repeat the last key; what the block holds beyond is never used.
    """
    bf16 = holds_bf16(pool)
    words, _ = _widths(head_dim, bf16)
    keys = _layout(num_rows, head_dim)[4]
    each = 2 if bf16 else 1
    column, width = kv_head * head_dim, pool.shape[1]
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
def _copy_values(
    pool: np.ndarray,
    slots: np.ndarray,
    start: int,
    stop: int,
    kv_head: int,
    num_rows: int,
    head_dim: int,
    scratch: np.ndarray,
) -> None:
    """Values start .. stop - 1 as rows: [BLOCK, D], or [BLOCK / 2, D] words of two values' numbers.

    Rows up to the next multiple of 32 repeat the last value, for weights of 0.
    """
    _, width = _widths(head_dim, False)
    values = _layout(num_rows, head_dim)[5]
    column, step = kv_head * head_dim, pool.shape[1]
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


@jit_exact
def _pass_over(
    row: int,
    num_rows: int,
    group: int,
    seen: int,
    head_dim: int,
    scratch: np.ndarray,
    bf16: bool,
    tiles: bool,
) -> None:
    """A tile of rows over the block in the scratch, of which the first token sees `seen` keys."""
    tops, sums, queries, mixed, keys, values, scores, weights, _ = _layout(num_rows, head_dim)
    words, width = _widths(head_dim, bf16)
    tile = TILE if tiles else 12
    height = TILE if tiles else min(tile, (num_rows - row + 2) // 3 * 3)
    num_seen = min(tile, num_rows - row)
    most = min(BLOCK, seen + (row + num_seen - 1) // group)
    step = BLOCK // 2 if bf16 else BLOCK
    multiply(
        scratch, queries + row * words, words, keys, BLOCK, scores, BLOCK,
        height, (most + 63) // 64 * 4, words, True, bf16, tiles,
    )  # fmt: skip
    count = (most + 31) // 32 * 32
    for i in range(num_seen):  # all rows' tops first: the rows' latencies overlap
        visible = min(most, seen + (row + i) // group)
        _raise(
            scratch, scores + i * BLOCK, visible,
            tops + row + i, sums + (row + i) * 16, mixed + (row + i) * width, width,
        )  # fmt: skip
    for i in range(num_seen):
        visible = min(most, seen + (row + i) // group)
        _weigh(
            scratch, scores + i * BLOCK, weights + i * step, count, visible,
            tops + row + i, sums + (row + i) * 16, bf16,
        )  # fmt: skip
    multiply(
        scratch, weights, step, values, width, mixed + row * width, width,
        height, width // 16, count // 2 if bf16 else count, False, bf16, tiles,
    )  # fmt: skip


@jit_exact
def _raise(
    scratch: np.ndarray, scores: int, visible: int, top_at: int, sum_at: int, mixed: int, width: int
) -> None:
    """One row: the largest score, the first `visible` ones included; sums in its units."""
    lowest = f32_splat(LOWEST)
    largest = f32_splat(LOWEST)
    whole = max(0, visible) // 16 * 16
    for s in range(0, whole, 16):
        largest = f32_max(f32_load(scratch, scores + s), largest)
    if whole < visible:
        rest = f32_first(visible - whole, f32_load(scratch, scores + whole), lowest)
        largest = f32_max(rest, largest)
    old = scratch[top_at]
    top = max(old, f32_top(largest))
    if top != old:
        scratch[top_at] = top
        factor = f32_exp2(f32_splat(old - top))
        f32_store(f32_mul(f32_load(scratch, sum_at), factor), scratch, sum_at)
        for d in range(0, width, 16):
            f32_store(f32_mul(f32_load(scratch, mixed + d), factor), scratch, mixed + d)


@jit_exact
def _weigh(
    scratch: np.ndarray,
    scores: int,
    weights: int,
    count: int,
    visible: int,
    top_at: int,
    sum_at: int,
    bf16: bool,
) -> None:
    """One row: weights 2**(score - top) of `count` keys, 0 past `visible`; added to the sums."""
    tops = f32_splat(scratch[top_at])
    total = f32_load(scratch, sum_at)
    for s in range(0, count, 32):
        a = f32_sub(f32_load(scratch, scores + s), tops)
        b = f32_sub(f32_load(scratch, scores + s + 16), tops)
        if bf16:
            a, b = f32_exp2_rough(a), f32_exp2_rough(b)
        else:
            a, b = f32_exp2(a), f32_exp2(b)
        if s + 32 > visible:
            a = f32_first(visible - s, a, f32_zero())
            b = f32_first(visible - s - 16, b, f32_zero())
        total = f32_add(total, f32_add(a, b))
        if bf16:
            bf16_store(bf16_of_f32(a, b), scratch, weights + s // 2)
        else:
            f32_store(a, scratch, weights + s)
            f32_store(b, scratch, weights + s + 16)
    f32_store(total, scratch, sum_at)


@jit_exact
def _write_out(
    t0: int,
    t1: int,
    first_head: int,
    group: int,
    head_dim: int,
    scratch: np.ndarray,
    out: np.ndarray,
) -> None:
    """out = weighted sums / sums of the weights."""
    num_rows = (t1 - t0) * group
    _, sums, _, mixed = _layout(num_rows, head_dim)[:4]
    width = _widths(head_dim, False)[1]
    for row in range(num_rows):
        inverse = np.float32(1.0) / f32_sum(f32_load(scratch, sums + row * 16))
        source = mixed + row * width
        for d in range(0, width, 16):
            f32_store(
                f32_mul(f32_load(scratch, source + d), f32_splat(inverse)), scratch, source + d
            )
        at = (t0 + row // group) * out.shape[1] + (first_head + row % group) * head_dim
        for d in range(head_dim):
            word_copy(scratch, source + d, out, at + d)
