"""paged_attention on a CPU: the compiled `attend` for each row and KV head, on one thread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sestina.kernels.numba_jit import jit_exact
from sestina.kernels.paged_attention.lanes import ITEM_TOKENS, attend, prepare, scratch_len
from sestina.kernels.paged_attention.pages import Pages

BITS: Mapping[torch.dtype, torch.dtype] = {
    torch.float32: torch.float32,
    torch.bfloat16: torch.uint16,
}
"""As what numba reads a pool of a dtype."""


def supports(q: Tensor, k_pool: Tensor) -> bool:
    whole_words = k_pool.dtype is torch.float32 or q.shape[2] % 2 == 0
    return (
        q.dtype is torch.float32 and k_pool.dtype in BITS and k_pool.is_contiguous() and whole_words
    )


def paged_attention(
    q: Tensor, k_pool: Tensor, v_pool: Tensor, pages: Pages, scale: float
) -> Tensor:
    num_tokens, num_heads, head_dim = q.shape
    num_kv_heads = k_pool.shape[1]
    q = q.contiguous()
    out = torch.empty_like(q)
    item = min(num_tokens, ITEM_TOKENS)
    scratch = np.empty(scratch_len(item, num_heads // num_kv_heads, head_dim), np.float32)
    prepare(scratch)
    k, v = (
        pool.view(BITS[pool.dtype]).view(pool.shape[0], -1).numpy() for pool in (k_pool, v_pool)
    )
    _rows(
        q.view(num_tokens, -1).numpy(),
        k,
        v,
        pages.page_table.numpy(),
        pages.table_rows.numpy(),
        pages.seq_lens.numpy(),
        pages.query_start.numpy(),
        num_heads,
        num_kv_heads,
        head_dim,
        np.float32(scale),
        scratch,
        out.view(num_tokens, -1).numpy(),
    )
    return out


@jit_exact
def _rows(
    q: np.ndarray,  # [T, H * D]
    k_pool: np.ndarray,  # [P, G * D]
    v_pool: np.ndarray,
    page_table: np.ndarray,
    table_rows: np.ndarray,
    seq_lens: np.ndarray,
    query_start: np.ndarray,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    scale: np.float32,
    scratch: np.ndarray,
    out: np.ndarray,  # [T, H * D]
) -> None:
    for b in range(seq_lens.shape[0]):
        first, end = int(query_start[b]), int(query_start[b + 1])
        slots = page_table[table_rows[b]]
        for t0 in range(first, end, ITEM_TOKENS):
            t1 = min(t0 + ITEM_TOKENS, end)
            seen = int(seq_lens[b]) - (end - t0) + 1
            for kv_head in range(num_kv_heads):
                attend(
                    q, k_pool, v_pool, slots, seen, t0, t1, kv_head, num_heads, num_kv_heads,
                    head_dim, scale, scratch, out,
                )  # fmt: skip
