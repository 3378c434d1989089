"""All layers for the new tokens of a batch, as stages that a team of threads goes through.

Per layer:  x += out(attention(rope(qkv(norm(x)))))        x += down(silu(gate) * up)(norm(x))

Touvron et al., "Llama 2", 2023. Of few tokens a stage's items are shares of a matrix' columns (for
all tokens) or tokens: weights are read once. Of many, an item is a block of tokens that goes
through all stages between two attentions: what one makes for the next stays in a core's cache.
Attention's items are those of `paged_attention.plan`; `threads.py` tells how all are shared out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sestina.kernels import threads
from sestina.kernels.decoder.rows import embed, prepare_inner, put_inner, silu_mul, store
from sestina.kernels.decoder.shapes import Buffers, Inputs, Items, Shape, Weights
from sestina.kernels.linear.packed import Packed
from sestina.kernels.linear.tiles import multiply, multiply_at, prepare
from sestina.kernels.numba_jit import jit_team as jit
from sestina.kernels.paged_attention.lanes import attend
from sestina.kernels.rms_norm.cpu import norm_row
from sestina.kernels.rope.cpu import rotate

EMBED, NORM, QKV, ROPE, ATTEND, HEADS, OUT, MLP_NORM, GATE_UP, INNER, DOWN, LAST, HEAD = range(13)
NAMES = (
    *("embed", "norm", "qkv", "rope", "attend", "heads", "out", "mlp_norm"),
    *("gate_up", "inner", "down", "last", "head"),
)
WAITING = len(NAMES)
PER_LAYER = DOWN - NORM + 1


@jit
def has_outside(ids: Any, end: int) -> bool:
    """Whether any of these is not in [0, end)."""
    num_outside = 0
    for t in range(ids.shape[0]):
        num_outside += (ids[t] < 0) | (ids[t] >= end)
    return num_outside > 0


@jit
def run(
    counters: Any,
    thread: int,
    weights: Weights,
    shape: Shape,
    inputs: Inputs,
    k_pool: Any,  # [L, P, G * D] float32, or uint16 (bfloat16 bits)
    v_pool: Any,
    buffers: Buffers,
    logits: Any,  # [N, V'] float32
    items: Items,
    clocks: Any,  # [threads, CLOCK_LEN] int64 by stage and WAITING, or [threads, 0]
) -> None:
    """Draw items until none is left; see `threads.Team.run`."""
    clock = clocks[thread]
    threads.book(clock, threads.NOW)
    args = (thread, weights, shape, inputs, k_pool, v_pool, buffers, logits, items)
    begin = step = 0  # the first ticket of a phase, and its first step
    while step < shape.num_layers * PER_LAYER + 3:
        after = _phase_end(step, shape.num_layers, items)
        end = begin + _num_items(_stage(step, shape.num_layers), items)
        threads.wait(counters, begin)
        threads.book(clock, WAITING)
        ticket = threads.draw(counters, end)
        while ticket < end:
            for at in range(step, after):
                stage = _stage(at, shape.num_layers)
                _do(stage, (at - 1) // PER_LAYER, ticket - begin, args)
                threads.book(clock, stage)
            threads.finish(counters)
            ticket = threads.draw(counters, end)
        begin, step = end, after
    if thread == 0:
        threads.wait(counters, begin)
        threads.book(clock, WAITING)


@jit
def _stage(step: int, num_layers: int) -> int:
    """EMBED, then the stages of each layer, then LAST and HEAD."""
    if step == 0:
        return EMBED
    if step <= num_layers * PER_LAYER:
        return NORM + (step - 1) % PER_LAYER
    return LAST + (step - 1 - num_layers * PER_LAYER)


@jit
def _phase_end(step: int, num_layers: int, items: Items) -> int:
    """The step after those that an item of this one goes through.

    A block of rows goes through all that needs no other row, and stays in one core's cache.
    """
    after = step + 1
    if items.blocks and _keeps_rows(_stage(step, num_layers)):
        while _keeps_rows(_stage(after, num_layers)):
            after += 1
    return after


@jit
def _keeps_rows(stage: int) -> bool:
    """Whether a row of what the stage makes needs only the same row of what was before."""
    return stage not in (ATTEND, LAST, HEAD)


@jit
def _num_items(stage: int, items: Items) -> int:
    if stage == ATTEND:
        return items.attention
    if stage == LAST:
        return items.logit_rows
    if stage == HEAD:
        return items.lm_head
    if items.blocks:
        return items.blocks
    if stage == QKV:
        return items.qkv
    if stage == OUT:
        return items.out
    if stage == GATE_UP:
        return items.gate_up
    if stage == DOWN:
        return items.down
    return items.rows


@jit
def _do(stage: int, layer: int, item: int, args: Any) -> None:
    thread, weights, shape, inputs, k_pool, v_pool, buffers, logits, items = args
    num_tokens = inputs.token_ids.shape[0]
    if stage == ATTEND:
        _attend(layer, item, shape, inputs, k_pool, v_pool, buffers, buffers.scratch[thread])
    elif stage == LAST:
        t = inputs.logit_rows[item]
        residual, delta = buffers.residual[t], buffers.delta[t]
        scratch = buffers.normed[thread]
        # Several rows of logits may come from one token: the residual stays as it is.
        for c in range(shape.hidden):
            scratch[c] = residual[c] + delta[c]
        norm_row(scratch, weights.norm, shape.eps, scratch)
        prepare(scratch, shape.hidden, shape.largest_hidden, buffers.rows_final, item)
    elif stage == HEAD:
        num_rows = inputs.logit_rows.shape[0]
        columns(buffers.rows_final, weights.lm_head, 0, 0, num_rows, item, items.lm_head, logits)
    elif items.blocks:
        first = item * items.block
        _rows(stage, layer, first, min(first + items.block, num_tokens), 0, 1, args)
    elif stage in (QKV, OUT, GATE_UP, DOWN):
        _rows(stage, layer, 0, num_tokens, item, _num_items(stage, items), args)
    else:
        first = item * items.step
        _rows(stage, layer, first, min(first + items.step, num_tokens), 0, 1, args)


@jit
def _rows(
    stage: int, layer: int, first: int, end: int, share: int, num_shares: int, args: Any
) -> None:
    """A stage of tokens first .. end - 1, or that share of a matrix' columns for them."""
    thread, weights, _, _, _, _, buffers, _, _ = args
    if stage == QKV:
        columns(buffers.rows_hidden, weights.qkv, layer, first, end, share, num_shares, buffers.qkv)
    elif stage == OUT:
        columns(
            buffers.rows_heads, weights.out, layer, first, end, share, num_shares, buffers.delta
        )
    elif stage == GATE_UP:
        _gate_up(layer, first, end, share, num_shares, weights.gate_up, buffers, thread)
    elif stage == DOWN:
        columns(
            buffers.rows_inner, weights.down, layer, first, end, share, num_shares, buffers.delta
        )
    else:
        for t in range(first, end):
            _token(stage, layer, t, args)


@jit
def _token(stage: int, layer: int, t: int, args: Any) -> None:
    """A stage of one token."""
    thread, weights, shape, inputs, k_pool, v_pool, buffers, _, _ = args
    if stage == EMBED:
        embed(inputs.token_ids[t], weights.embedding, buffers.residual[t])
        for d in range(weights.frequencies.shape[0]):
            angle = np.float32(inputs.positions[t]) * weights.frequencies[d]
            buffers.cos[t, d], buffers.sin[t, d] = np.cos(angle), np.sin(angle)
        buffers.delta[t, :] = np.float32(0.0)
    elif stage == NORM:
        norm = weights.attention_norm[layer]
        _add_norm(buffers, t, norm, shape, buffers.normed[thread])
    elif stage == ROPE:
        row = buffers.qkv[t]
        _rope(row, buffers.cos[t], buffers.sin[t], shape.num_heads + shape.num_kv_heads)
        width = shape.num_kv_heads * shape.head_dim
        first = shape.num_heads * shape.head_dim
        slot = inputs.slots[t]
        store(row[first : first + width], k_pool[layer, slot])
        store(row[first + width : first + 2 * width], v_pool[layer, slot])
    elif stage == HEADS:
        width = shape.num_heads * shape.head_dim
        prepare(buffers.attended[t], width, shape.largest_heads, buffers.rows_heads, t)
    elif stage == MLP_NORM:
        _add_norm(buffers, t, weights.mlp_norm[layer], shape, buffers.normed[thread])
    elif stage == INNER:
        prepare_inner(buffers.gated, shape.inner, shape.largest_inner, buffers.rows_inner, t)


@jit
def columns(
    rows: Any,
    matrix: Any,
    layer: int,
    first: int,
    end: int,
    share: int,
    num_shares: int,
    out: Any,
) -> None:
    """Rows first .. end - 1 times share `share` of `num_shares` of a matrix' columns."""
    num_pairs = out.shape[1] // 32
    for pair in range(num_pairs * share // num_shares, num_pairs * (share + 1) // num_shares):
        multiply(rows, matrix, layer, 2 * pair, first, end, out)
        if matrix.bias.shape[0]:
            _add_bias(matrix.bias[layer], 32 * pair, first, end, out, 32 * pair)


@jit
def _gate_up(
    layer: int,
    first: int,
    end: int,
    share: int,
    num_shares: int,
    matrix: Packed,
    buffers: Buffers,
    thread: int,
) -> None:
    """silu(gate) * up for a share of the pairs of tiles, each of 16 gates and their ups."""
    num_pairs = matrix.scales.shape[1] // 32
    both = buffers.gate_up[thread]
    for pair in range(num_pairs * share // num_shares, num_pairs * (share + 1) // num_shares):
        multiply_at(buffers.rows_hidden, matrix, layer, 2 * pair, first, end, both, 0)
        if matrix.bias.shape[0]:
            _add_bias(matrix.bias[layer], 32 * pair, first, end, both, 0)
        for m in range(first, end):
            lanes = silu_mul(both, 32 * m)
            put_inner(lanes, buffers.gated, buffers.rows_inner, m, 16 * pair)


@jit
def _add_bias(bias: Any, at: int, first: int, end: int, out: Any, column: int) -> None:
    """Add a pair of tiles' biases, from bias[at] on, to columns of `out` from `column` on."""
    for m in range(first, end):
        for n in range(32):
            out[m, column + n] += bias[at + n]


@jit
def _attend(
    layer: int,
    item: int,
    shape: Shape,
    inputs: Inputs,
    k_pool: Any,
    v_pool: Any,
    buffers: Buffers,
    scratch: Any,
) -> None:
    attend(
        buffers.qkv,
        k_pool[layer],
        v_pool[layer],
        inputs.page_table,
        inputs.runs,
        inputs.attention[item],
        shape.num_heads,
        shape.num_kv_heads,
        shape.head_dim,
        shape.scale,
        scratch,
        buffers.attended,
    )


@jit
def _add_norm(buffers: Buffers, t: int, norm: Any, shape: Shape, scratch: Any) -> None:
    """Add what the last matrix gave to the residual, and make its norm ready for the next."""
    residual, delta = buffers.residual[t], buffers.delta[t]
    for c in range(shape.hidden):
        residual[c] += delta[c]
    norm_row(residual, norm, shape.eps, scratch)
    prepare(scratch, shape.hidden, shape.largest_hidden, buffers.rows_hidden, t)


@jit
def _rope(row: Any, cos: Any, sin: Any, num_heads: int) -> None:
    half = cos.shape[0]
    for head in range(num_heads):
        at = 2 * half * head
        rotate(row[at : at + half], row[at + half : at + 2 * half], cos, sin)
