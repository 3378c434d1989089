"""attend: some KV heads for some runs of new tokens, compiled, for compiled callers.

Blocks of keys at fixed positions, as in Dao, "FlashAttention-2", 2023: a block of K and V is copied
out of its pages into the layout that the products want, and all queries of a head (rows: tokens
times heads of the group) pass over it, a tile of rows at a time: first all runs of the item over
the blocks that they share, then each over its own. Each row keeps the largest score, the sum of
the weights and the weighted sum of V in float32 and rescales them when the largest score grows.
Scores are in units of log 2 (the scale of the queries holds the factor).

What a row computes depends on its position alone: the products sum in the order of the head's
dimensions and of the keys whatever the tile's height, masked keys weigh exactly 0, and block
borders are multiples of a constant. So a token's result is bitwise the same however the tokens
are put into items; and no tile has rows of two runs, unless both see all of the block, so that a
NaN in one's values stays its own.
"""

from __future__ import annotations

import numpy as np

from sestina.kernels.numba_jit import jit_exact
from sestina.kernels.paged_attention.copies import (
    copy_keys,
    copy_values,
    fetch,
    read_query,
    write_out,
)
from sestina.kernels.paged_attention.plan import (
    BEGIN,
    BLOCK,
    END,
    FIRST,
    HEAD,
    LAST,
    NUM_HEADS,
    ROW,
    SEEN,
    SHARED,
)
from sestina.kernels.paged_attention.products import multiply
from sestina.kernels.paged_attention.scratch import (
    TILE,
    TILES,
    block_places,
    pad,
    state_places,
    widths,
)
from sestina.kernels.simd import (
    LOG2_E,
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
    f32_zero,
)
from sestina.kernels.simd_matrix import holds_bf16, rows_top, tiles_begin, tiles_end, words_to_line
from sestina.kernels.simd_narrow import bf16_of_f32, bf16_store

LOWEST = np.float32(-3.0e38)


@jit_exact
def attend(
    q: np.ndarray,  # [T, W] float32; query head h of a token in columns h * D ..
    k_pool: np.ndarray,  # [P, G * D] float32, or uint16: the bits of bfloat16
    v_pool: np.ndarray,
    page_table: np.ndarray,  # [R, S] int32: pool row of each position
    runs: np.ndarray,  # [A, 4] int32 and an item [5] int32, of `plan`
    item: np.ndarray,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    scale: np.float32,
    scratch: np.ndarray,  # [scratch_len(...)] float32, of one thread
    out: np.ndarray,  # [T, H * D] float32
) -> None:
    """Write out[t, h] for the tokens t of the item's runs and the query heads of its KV heads.

    With bfloat16 pools, queries and weights are rounded to bfloat16 too; sums are float32.
    """
    group = num_heads // num_kv_heads
    bf16 = holds_bf16(k_pool)
    tiles = bf16 and scratch[0] == TILES
    scratch = scratch[words_to_line(scratch) :]  # half the time of tiles that straddle lines
    num_rows = 0
    for r in range(item[FIRST], item[LAST]):
        num_rows += pad((runs[r, END] - runs[r, BEGIN]) * group, tiles)
    _begin(q, runs, item, num_rows, group, head_dim, scale * LOG2_E, scratch, bf16, tiles)
    if item[SHARED]:
        if tiles:
            tiles_begin(scratch, TILE)
        slots = page_table[runs[item[FIRST], ROW]]
        for start in range(0, item[SHARED], BLOCK):
            _block(
                k_pool, v_pool, slots, start, start + BLOCK, item[SHARED], item, 0, num_rows,
                num_rows, group, BLOCK, head_dim, scratch, tiles,
            )  # fmt: skip
    row = 0
    for r in range(item[FIRST], item[LAST]):
        num_own = (runs[r, END] - runs[r, BEGIN]) * group
        slots, seen = page_table[runs[r, ROW]], runs[r, SEEN]
        end = seen + runs[r, END] - runs[r, BEGIN] - 1
        if tiles:
            tiles_begin(scratch, min(num_own, TILE))
        for start in range(item[SHARED], end, BLOCK):
            _block(
                k_pool, v_pool, slots, start, min(start + BLOCK, end), end, item, row, num_own,
                num_rows, group, seen - start, head_dim, scratch, tiles,
            )  # fmt: skip
        row += pad(num_own, tiles)
    if tiles:
        tiles_end(scratch)
    _end(runs, item, num_rows, group, head_dim, scratch, tiles, out)


@jit_exact
def _begin(
    q: np.ndarray, runs: np.ndarray, item: np.ndarray, num_rows: int, group: int, head_dim: int,
    factor: np.float32, scratch: np.ndarray, bf16: bool, tiles: bool,
) -> None:  # fmt: skip
    """Queries, and the state of a softmax over nothing; rows and columns that pad are zero."""
    words, _width = widths(head_dim, bf16)
    state = block_places(head_dim)[-1]
    for h in range(item[HEAD], item[HEAD] + item[NUM_HEADS]):
        tops, sums, queries, _mixed, end = state_places(state, num_rows, head_dim)
        scratch[tops:sums] = LOWEST
        scratch[sums:end] = np.float32(0.0)
        row = 0
        for r in range(item[FIRST], item[LAST]):
            begin, stop = runs[r, BEGIN], runs[r, END]
            for i in range((stop - begin) * group):
                source = (begin + i // group) * q.shape[1] + (h * group + i % group) * head_dim
                read_query(q, source, head_dim, factor, scratch, queries + (row + i) * words, bf16)
            row += pad((stop - begin) * group, tiles)
        state = end


@jit_exact
def _end(
    runs: np.ndarray, item: np.ndarray, num_rows: int, group: int, head_dim: int,
    scratch: np.ndarray, tiles: bool, out: np.ndarray,
) -> None:  # fmt: skip
    """out = weighted sums / sums of the weights."""
    _words, width = widths(head_dim, False)
    state = block_places(head_dim)[-1]
    for h in range(item[HEAD], item[HEAD] + item[NUM_HEADS]):
        _tops, sums, _queries, mixed, end = state_places(state, num_rows, head_dim)
        row = 0
        for r in range(item[FIRST], item[LAST]):
            begin, stop = runs[r, BEGIN], runs[r, END]
            for i in range((stop - begin) * group):
                at = (begin + i // group) * out.shape[1] + (h * group + i % group) * head_dim
                place = row + i
                write_out(scratch, mixed + place * width, sums + place * 16, head_dim, out, at)
            row += pad((stop - begin) * group, tiles)
        state = end


@jit_exact
def _block(
    k_pool: np.ndarray, v_pool: np.ndarray, slots: np.ndarray, start: int, stop: int, end: int,
    item: np.ndarray, row: int, num_own: int, num_rows: int, group: int, seen: int, head_dim: int,
    scratch: np.ndarray, tiles: bool,
) -> None:  # fmt: skip
    """Rows row .. row + num_own - 1 of all heads over keys start .. stop - 1 of `end`.

    num_rows: of the whole state. seen: how many of these keys the first row's token sees.
    """
    bf16 = holds_bf16(k_pool)
    tile = TILE if tiles else 12
    first = max(0, 1 - seen) * group // tile * tile  # earlier rows see nothing of the block
    column, width = item[HEAD] * head_dim, item[NUM_HEADS] * head_dim
    state = block_places(head_dim)[-1]
    part = (BLOCK + item[NUM_HEADS] - 1) // item[NUM_HEADS]
    for h in range(item[NUM_HEADS]):
        ahead = min(stop + part * h, end)
        fetch(k_pool, slots, ahead, min(ahead + part, end), column, width)
        fetch(v_pool, slots, ahead, min(ahead + part, end), column, width)
        copy_keys(k_pool, slots, start, stop, column + h * head_dim, head_dim, scratch)
        copy_values(v_pool, slots, start, stop, column + h * head_dim, head_dim, scratch)
        for at in range(first, num_own, tile):
            _pass_over(
                row + at, at, min(tile, num_own - at), state, num_rows, group, seen, head_dim,
                scratch, bf16, tiles,
            )  # fmt: skip
        state = state_places(state, num_rows, head_dim)[-1]


@jit_exact
def _pass_over(
    row: int, at: int, count: int, state: int, num_rows: int, group: int, seen: int, head_dim: int,
    scratch: np.ndarray, bf16: bool, tiles: bool,
) -> None:  # fmt: skip
    """A tile of rows over the block in the scratch, of which row i's token sees seen + i // group.

    The rows are row .. row + count - 1 of the state, at .. of their run.
    """
    _, values, scores, weights, _ = block_places(head_dim)
    keys = block_places(head_dim)[0]
    tops, sums, queries, mixed, _ = state_places(state, num_rows, head_dim)
    words, width = widths(head_dim, bf16)
    height = (count + 2) // 3 * 3
    most = min(BLOCK, seen + (at + count - 1) // group)
    step = BLOCK // 2 if bf16 else BLOCK
    multiply(
        scratch, queries + row * words, words, keys, BLOCK, scores, BLOCK,
        height, (most + 63) // 64 * 4, words, True, bf16, tiles,
    )  # fmt: skip
    padded = (most + 31) // 32 * 32
    _raise(
        scratch, scores, weights, at, count, seen, group,
        tops + row, sums + row * 16, mixed + row * width, width,
    )  # fmt: skip
    for i in range(count):
        visible = min(most, seen + (at + i) // group)
        _weigh(
            scratch, scores + i * BLOCK, weights + i * step, padded, visible,
            tops + row + i, sums + (row + i) * 16, bf16,
        )  # fmt: skip
    multiply(
        scratch, weights, step, values, width, mixed + row * width, width,
        height, width // 16, padded // 2 if bf16 else padded, False, bf16, tiles,
    )  # fmt: skip


@jit_exact
def _raise(
    scratch: np.ndarray, scores: int, spot: int, at: int, count: int, seen: int, group: int,
    tops: int, sums: int, mixed: int, width: int,
) -> None:  # fmt: skip
    """All rows' largest scores, these included; what they have summed, in units of the new ones.

    spot: 16 numbers of the scratch that nobody needs.
    """
    if seen + at // group < BLOCK:
        for i in range(count):
            _hide(scratch, scores + i * BLOCK, seen + (at + i) // group)
    old = f32_load(scratch, tops)  # and those of rows that come after: they stay as they are
    top = f32_first(count, f32_max(rows_top(scratch, scores, BLOCK), old), old)
    f32_store(top, scratch, tops)
    f32_store(f32_exp2(f32_sub(old, top)), scratch, spot)
    for i in range(count):
        if scratch[spot + i] != np.float32(1.0):
            factor = f32_splat(scratch[spot + i])
            place = sums + 16 * i
            f32_store(f32_mul(f32_load(scratch, place), factor), scratch, place)
            place = mixed + width * i
            for d in range(0, width, 16):
                f32_store(f32_mul(f32_load(scratch, place + d), factor), scratch, place + d)


@jit_exact
def _hide(scratch: np.ndarray, scores: int, visible: int) -> None:
    """The scores that a row may not see are the lowest."""
    lowest = f32_splat(LOWEST)
    first = max(0, visible) // 16 * 16
    for s in range(first, BLOCK, 16):
        f32_store(
            f32_first(visible - s, f32_load(scratch, scores + s), lowest), scratch, scores + s
        )


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
