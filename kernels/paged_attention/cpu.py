"""paged_attention on a CPU: numba reads the pages in place for short rows, torch for long ones.

A row of few new tokens is bound by reading K and V, which the numba kernel does once per group of
heads and without a copy. A prefill chunk reuses every key many times: gathering K and V once and
running torch's fused attention (two threads, blocked) is faster from about 5 new tokens on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sestina.kernels.numba_jit import exp_f32, jit
from sestina.kernels.paged_attention.pages import Pages

MAX_SHORT = 4
"""Rows with more new tokens than this go through torch (measured)."""


def supports(q: Tensor, k_pool: Tensor) -> bool:
    return q.dtype is torch.float32 and k_pool.dtype is torch.float32 and k_pool.is_contiguous()


def paged_attention(
    q: Tensor, k_pool: Tensor, v_pool: Tensor, pages: Pages, scale: float
) -> Tensor:
    num_tokens, num_heads, head_dim = q.shape
    q = q.contiguous()
    out = torch.empty_like(q)
    longest = 0
    starts = pages.query_start.tolist()
    lens = pages.seq_lens.tolist()
    for b, seq_len in enumerate(lens):
        if starts[b + 1] - starts[b] > MAX_SHORT:
            rows = slice(starts[b], starts[b + 1])
            slots = pages.page_table[int(pages.table_rows[b]), :seq_len]
            out[rows] = _long_row(q[rows], k_pool[slots], v_pool[slots], scale)
        else:
            longest = max(longest, seq_len)
    if longest:
        width = num_heads * head_dim
        scores = np.empty((num_heads, longest), np.float32)
        _short_rows(
            q.view(num_tokens, width).numpy(),
            k_pool.view(k_pool.shape[0], -1).numpy(),
            v_pool.view(v_pool.shape[0], -1).numpy(),
            pages.page_table.numpy(),
            pages.table_rows.numpy(),
            pages.seq_lens.numpy(),
            pages.query_start.numpy(),
            head_dim,
            np.float32(scale),
            scores,
            out.view(num_tokens, width).numpy(),
        )
    return out


def _long_row(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """One row as in `reference.attend`, through torch's fused attention: out [T, H, D]."""
    num_new, seq_len = q.shape[0], k.shape[0]
    hidden_before = seq_len - num_new
    mask = None
    if hidden_before:
        mask = torch.ones((num_new, seq_len), dtype=torch.bool).tril_(hidden_before)
    out = functional.scaled_dot_product_attention(
        q.transpose(0, 1)[None],  # [1, H, T, D]
        k.transpose(0, 1)[None],  # [1, G, S, D]
        v.transpose(0, 1)[None],
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=True,
    )
    return out[0].transpose(0, 1)


@jit
def _short_rows(
    q: np.ndarray,  # [T, H * D]
    k_pool: np.ndarray,  # [P, G * D]
    v_pool: np.ndarray,
    page_table: np.ndarray,
    table_rows: np.ndarray,
    seq_lens: np.ndarray,
    query_start: np.ndarray,
    head_dim: int,
    scale: np.float32,
    scores: np.ndarray,  # [H, S] scratch
    out: np.ndarray,  # [T, H * D]
) -> None:
    # Every array is C-contiguous in its last axis and stays so when sliced: LLVM vectorises the
    # loops over D only then (10 times slower without).
    for b in range(seq_lens.shape[0]):
        first, end = query_start[b], query_start[b + 1]
        if end - first > MAX_SHORT:
            continue
        for t in range(first, end):
            slots = page_table[table_rows[b]][: seq_lens[b] - (end - t) + 1]
            _scores(q[t], k_pool, slots, head_dim, scale, scores)
            _softmax(scores, slots.shape[0])
            _mix(scores, v_pool, slots, head_dim, out[t])


@jit
def _scores(
    q: np.ndarray,
    k_pool: np.ndarray,
    slots: np.ndarray,
    head_dim: int,
    scale: np.float32,
    scores: np.ndarray,
) -> None:
    """scores[h, s] = scale * q[h] . k_pool[slots[s], g], with q [H * D] and k_pool [P, G * D]."""
    num_heads = scores.shape[0]
    group = num_heads * head_dim // k_pool.shape[1]
    last = slots.shape[0] - 1
    for s in range(0, slots.shape[0], 4):  # four keys at a time; a short last group repeats a key
        e1, e2, e3 = min(s + 1, last), min(s + 2, last), min(s + 3, last)
        k0, k1, k2, k3 = k_pool[slots[s]], k_pool[slots[e1]], k_pool[slots[e2]], k_pool[slots[e3]]
        for h in range(num_heads):
            lane = h // group * head_dim
            g0, g1 = k0[lane : lane + head_dim], k1[lane : lane + head_dim]
            g2, g3 = k2[lane : lane + head_dim], k3[lane : lane + head_dim]
            query = q[h * head_dim : (h + 1) * head_dim]
            t0 = t1 = t2 = t3 = np.float32(0.0)
            for d in range(head_dim):
                t0 += query[d] * g0[d]
                t1 += query[d] * g1[d]
                t2 += query[d] * g2[d]
                t3 += query[d] * g3[d]
            row = scores[h]
            row[s], row[e1], row[e2], row[e3] = t0 * scale, t1 * scale, t2 * scale, t3 * scale


@jit
def _softmax(scores: np.ndarray, num_seen: int) -> None:
    """Over the first `num_seen` of each row, in place."""
    for h in range(scores.shape[0]):
        row = scores[h][:num_seen]
        top = row[0]
        for s in range(num_seen):
            top = max(top, row[s])
        total = np.float32(0.0)
        for s in range(num_seen):
            row[s] = exp_f32(row[s] - top)
            total += row[s]
        inverse = np.float32(1.0) / total
        for s in range(num_seen):
            row[s] *= inverse


@jit
def _mix(
    weights: np.ndarray, v_pool: np.ndarray, slots: np.ndarray, head_dim: int, out: np.ndarray
) -> None:
    """out[h] = sum of weights[h, s] * v_pool[slots[s], g], out [H * D] and v_pool [P, G * D]."""
    num_heads = weights.shape[0]
    group = num_heads * head_dim // v_pool.shape[1]
    last = slots.shape[0] - 1
    zero = np.float32(0.0)
    out[:] = zero
    for s in range(0, slots.shape[0], 4):  # four values at a time, those past the end with weight 0
        e1, e2, e3 = min(s + 1, last), min(s + 2, last), min(s + 3, last)
        v0, v1, v2, v3 = v_pool[slots[s]], v_pool[slots[e1]], v_pool[slots[e2]], v_pool[slots[e3]]
        for h in range(num_heads):
            row = weights[h]
            w0 = row[s]
            w1 = row[e1] if e1 > s else zero
            w2 = row[e2] if e2 > e1 else zero
            w3 = row[e3] if e3 > e2 else zero
            lane = h // group * head_dim
            g0, g1 = v0[lane : lane + head_dim], v1[lane : lane + head_dim]
            g2, g3 = v2[lane : lane + head_dim], v3[lane : lane + head_dim]
            result = out[h * head_dim : (h + 1) * head_dim]
            for d in range(head_dim):
                result[d] += w0 * g0[d] + w1 * g1[d] + w2 * g2[d] + w3 * g3[d]
