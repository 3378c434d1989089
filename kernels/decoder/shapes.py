"""What the decoder reads and writes, as tuples of arrays that numba takes as they are.

T new tokens, B rows, N rows of logits, L layers, C hidden size, I inner size, H query heads, G KV
heads, D head dim, V vocabulary. A size with a stroke (C') is rounded up as `linear.packed` says.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.kernels import aligned
from sestina.kernels.linear.packed import PAIR, TILE, Packed, Rows, largest_activation, padded
from sestina.kernels.paged_attention.scratch import prepare, scratch_len

Floats = NDArray[np.float32]


class Shape(NamedTuple):
    """Sizes of the model, and the numbers that its norms and attention need."""

    num_layers: int
    hidden: int
    inner: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab: int
    eps: np.float32
    scale: np.float32
    largest_hidden: np.float32  # `packed.largest_activation` of C, of H * D and of I
    largest_heads: np.float32
    largest_inner: np.float32

    @classmethod
    def of(
        cls,
        *,
        num_layers: int,
        hidden: int,
        inner: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        vocab: int,
        eps: float,
    ) -> Shape:
        largest = (largest_activation(width) for width in (hidden, num_heads * head_dim, inner))
        return cls(
            num_layers,
            hidden,
            inner,
            num_heads,
            num_kv_heads,
            head_dim,
            vocab,
            np.float32(eps),
            np.float32(head_dim**-0.5),
            *(np.float32(value) for value in largest),
        )


class Weights(NamedTuple):
    """All matrices packed, the layers' under one another; norms float32.

    frequencies are those of `backend.models.rope`. gate_up holds 16 gates, 16 ups and so on
    (`packed.interleave`). embedding is lm_head's own tuple where the model ties them.
    """

    frequencies: Floats  # [D / 2]: radians a position
    attention_norm: Floats  # [L, C]
    qkv: Packed  # (H + 2 G) * D columns: query heads, key heads, value heads
    out: Packed
    mlp_norm: Floats  # [L, C]
    gate_up: Packed
    down: Packed
    norm: Floats  # [C]
    lm_head: Packed  # one layer
    embedding: Packed  # one layer


class Inputs(NamedTuple):
    """One batch, as `sestina.kernels.decoder.Decoder.logits` is asked for it."""

    token_ids: NDArray[np.int64]  # [T]
    positions: NDArray[np.int64]  # [T]
    slots: NDArray[np.int64]  # [T]
    runs: NDArray[np.int32]  # [A, 4] and
    attention: NDArray[np.int32]  # [I, 5] of `paged_attention.plan`
    page_table: NDArray[np.int32]  # [R, S]
    logit_rows: NDArray[np.int64]  # [N]


class Buffers(NamedTuple):
    """Room for up to T tokens and N rows of logits; contents do not outlive a call."""

    cos: Floats  # [T, D / 2]
    sin: Floats
    residual: Floats  # [T, C]
    delta: Floats  # [T, C']
    qkv: Floats  # [T, ((H + 2 G) D)']
    attended: Floats  # [T, H * D]
    gate_up: Floats  # [threads, T, 32]: a pair of tiles, gates and ups
    gated: Floats  # [T, I']
    rows_hidden: Rows
    rows_heads: Rows
    rows_inner: Rows
    rows_final: Rows  # [N, C]
    normed: Floats  # [threads, C]
    scratch: Floats  # [threads, S] of `paged_attention.scratch`

    @classmethod
    def empty(
        cls,
        shape: Shape,
        weights: Weights,
        num_tokens: int,
        num_logits: int,
        num_threads: int,
    ) -> Buffers:
        heads = shape.num_heads * shape.head_dim

        def floats(num_rows: int, width: int) -> Floats:
            return aligned.zeros((num_rows, width), np.float32)

        def rows(num_rows: int, width: int) -> Rows:
            return Rows.empty(num_rows, width, weights.qkv.weights)

        return cls(
            cos=floats(num_tokens, shape.head_dim // 2),
            sin=floats(num_tokens, shape.head_dim // 2),
            residual=floats(num_tokens, shape.hidden),
            delta=floats(num_tokens, padded(shape.hidden, PAIR)),
            qkv=floats(num_tokens, weights.qkv.scales.shape[1]),
            attended=floats(num_tokens, heads),
            gate_up=aligned.zeros((num_threads, num_tokens, PAIR), np.float32),
            gated=floats(num_tokens, padded(shape.inner, TILE)),
            rows_hidden=rows(num_tokens, shape.hidden),
            rows_heads=rows(num_tokens, heads),
            rows_inner=rows(num_tokens, shape.inner),
            rows_final=rows(num_logits, shape.hidden),
            normed=floats(num_threads, shape.hidden),
            scratch=_scratch(num_threads, shape),
        )


def _scratch(num_threads: int, shape: Shape) -> Floats:
    group = shape.num_heads // shape.num_kv_heads
    length = scratch_len(group, shape.num_kv_heads, shape.head_dim)
    scratch = aligned.zeros((num_threads, length), np.float32)
    for row in scratch:
        prepare(row)
    return scratch


class Items(NamedTuple):
    """How many items each stage has; a matrix' items are equal shares of its pairs of tiles."""

    blocks: int  # of `block` tokens each, a multiple of 16; 0: few tokens, and
    block: int
    rows: int  # T tokens, `step` at a time
    step: int
    qkv: int
    out: int
    gate_up: int
    down: int
    attention: int
    logit_rows: int
    lm_head: int

    @classmethod
    def of(
        cls, weights: Weights, num_tokens: int, attention: int, num_logits: int, threads: int
    ) -> Items:
        shares = threads * (4 if num_tokens <= FEW else 16)
        step = 1 if num_tokens <= FEW else 8
        blocks = block = 0
        if num_tokens >= MANY * threads:
            blocks = padded(-(-num_tokens // BLOCK), threads)
            block = padded(-(-num_tokens // blocks), TILE)
            blocks = -(-num_tokens // block)

        def of_matrix(matrix: Packed, most: int) -> int:
            num_pairs: int = matrix.scales.shape[1] // PAIR
            return min(most, num_pairs)

        return cls(
            blocks=blocks,
            block=block,
            rows=-(-num_tokens // step),
            step=step,
            qkv=of_matrix(weights.qkv, shares),
            out=of_matrix(weights.out, shares),
            gate_up=of_matrix(weights.gate_up, shares),
            down=of_matrix(weights.down, shares),
            attention=attention,
            logit_rows=num_logits,
            lm_head=of_matrix(weights.lm_head, 8 * shares),
        )


FEW = 16
"""Up to this many tokens a step is a decode: few, large items."""

MANY, BLOCK = 32, 256
"""From so many tokens a thread on they go in blocks of at most so many (measured): what a block
makes fits into a core's second cache, and each thread does not read all weights for too few."""
