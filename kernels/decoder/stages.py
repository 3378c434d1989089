"""All layers for the new tokens of a batch, as stages that a team of threads goes through.

Per layer:  x += out(attention(rope(qkv(norm(x)))))        x += down(silu(gate) * up)(norm(x))

Touvron et al., "Llama 2", 2023. A stage's items are shares of a matrix' columns (for all tokens),
tokens, or (run of tokens, KV head) pairs; `threads.py` tells how they are shared out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sestina.kernels import threads
from sestina.kernels.decoder.rows import embed, silu_mul, store
from sestina.kernels.decoder.shapes import Buffers, Inputs, Items, Shape, Weights
from sestina.kernels.linear.packed import Packed
from sestina.kernels.linear.tiles import multiply, multiply_at, prepare
from sestina.kernels.numba_jit import jit_team as jit
from sestina.kernels.paged_attention.lanes import attend
from sestina.kernels.rms_norm.cpu import norm_row
from sestina.kernels.rope.cpu import rotate

EMBED, NORM, QKV, ROPE, ATTEND, HEADS, OUT, MLP_NORM, GATE_UP, INNER, DOWN, LAST, HEAD = range(13)
PER_LAYER = DOWN - NORM + 1


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
) -> None:
    """Draw items until none is left; see `threads.Team.run`."""
    args = (thread, weights, shape, inputs, k_pool, v_pool, buffers, logits, items)
    ticket = threads.draw(counters)
    begin = 0  # the first ticket of a stage
    for step in range(shape.num_layers * PER_LAYER + 3):
        stage, layer = _place(step, shape.num_layers)
        end = begin + _num_items(stage, shape, items)
        if ticket < end:
            threads.wait(counters, begin)
            while ticket < end:
                _do(stage, layer, ticket - begin, args)
                threads.finish(counters)
                ticket = threads.draw(counters)
        begin = end
    if thread == 0:
        threads.wait(counters, begin)


@jit
def _place(step: int, num_layers: int) -> Any:
    """Stage and layer of a step: EMBED, then the layers' stages, then LAST and HEAD."""
    if step == 0:
        return EMBED, 0
    layer = (step - 1) // PER_LAYER
    if layer < num_layers:
        return NORM + (step - 1) % PER_LAYER, layer
    return LAST + (step - 1 - num_layers * PER_LAYER), 0


@jit
def _num_items(stage: int, shape: Shape, items: Items) -> int:
    if stage == QKV:
        return items.qkv
    if stage == ATTEND:
        return items.attention * shape.num_kv_heads
    if stage == OUT:
        return items.out
    if stage == GATE_UP:
        return items.gate_up
    if stage == DOWN:
        return items.down
    if stage == LAST:
        return items.logit_rows
    if stage == HEAD:
        return items.lm_head
    return items.rows


@jit
def _do(stage: int, layer: int, item: int, args: Any) -> None:
    thread, weights, shape, inputs, k_pool, v_pool, buffers, logits, items = args
    num_tokens = inputs.token_ids.shape[0]
    if stage == QKV:
        columns(buffers.rows_hidden, weights.qkv, layer, item, items.qkv, num_tokens, buffers.qkv)
    elif stage == ATTEND:
        _attend(layer, item, shape, inputs, k_pool, v_pool, buffers, buffers.scratch[thread])
    elif stage == OUT:
        columns(buffers.rows_heads, weights.out, layer, item, items.out, num_tokens, buffers.delta)
    elif stage == GATE_UP:
        _gate_up(layer, item, items.gate_up, num_tokens, weights.gate_up, buffers, thread)
    elif stage == DOWN:
        columns(
            buffers.rows_inner, weights.down, layer, item, items.down, num_tokens, buffers.delta
        )
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
        columns(buffers.rows_final, weights.lm_head, 0, item, items.lm_head, num_rows, logits)
    else:
        first = item * items.step
        for t in range(first, min(first + items.step, num_tokens)):
            _token(stage, layer, t, args)


@jit
def _token(stage: int, layer: int, t: int, args: Any) -> None:
    """A stage of one token."""
    thread, weights, shape, inputs, k_pool, v_pool, buffers, _, _ = args
    if stage == EMBED:
        embed(inputs.token_ids[t], weights.embedding, buffers.residual[t])
        buffers.delta[t, :] = np.float32(0.0)
    elif stage == NORM:
        norm = weights.attention_norm[layer]
        _add_norm(buffers, t, norm, shape, buffers.normed[thread])
    elif stage == ROPE:
        row = buffers.qkv[t]
        _rope(row, inputs.cos[t], inputs.sin[t], shape.num_heads + shape.num_kv_heads)
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
        prepare(buffers.gated[t], shape.inner, shape.largest_inner, buffers.rows_inner, t)


@jit
def columns(
    rows: Any, matrix: Any, layer: int, item: int, num_items: int, num_rows: int, out: Any
) -> None:
    """Share `item` of `num_items` of a matrix' columns, for all rows."""
    num_pairs = out.shape[1] // 32
    first, end = num_pairs * item // num_items, num_pairs * (item + 1) // num_items
    for pair in range(first, end):
        multiply(rows, matrix, layer, 2 * pair, num_rows, out)
        if matrix.bias.shape[0]:
            _add_bias(matrix.bias[layer], 32 * pair, num_rows, out, 32 * pair)


@jit
def _gate_up(
    layer: int,
    item: int,
    num_items: int,
    num_rows: int,
    matrix: Packed,
    buffers: Buffers,
    thread: int,
) -> None:
    """silu(gate) * up for a share of the pairs of tiles, each of 16 gates and their ups."""
    num_pairs = matrix.scales.shape[1] // 32
    both = buffers.gate_up[thread]
    for pair in range(num_pairs * item // num_items, num_pairs * (item + 1) // num_items):
        multiply_at(buffers.rows_hidden, matrix, layer, 2 * pair, num_rows, both, 0)
        if matrix.bias.shape[0]:
            _add_bias(matrix.bias[layer], 32 * pair, num_rows, both, 0)
        for m in range(num_rows):
            silu_mul(both, 32 * m, buffers.gated, m * buffers.gated.shape[1] + 16 * pair)


@jit
def _add_bias(bias: Any, first: int, num_rows: int, out: Any, column: int) -> None:
    """Add a pair of tiles' biases, from bias[first] on, to columns of `out` from `column` on."""
    for m in range(num_rows):
        for n in range(32):
            out[m, column + n] += bias[first + n]


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
    run = inputs.runs[item // shape.num_kv_heads]
    attend(
        buffers.qkv,
        k_pool[layer],
        v_pool[layer],
        inputs.page_table[run[0]],
        int(run[3]),
        int(run[1]),
        int(run[2]),
        item % shape.num_kv_heads,
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
