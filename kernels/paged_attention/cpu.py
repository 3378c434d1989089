"""paged_attention on a CPU: the compiled `attend` for each item of the plan, on one thread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sestina.kernels.paged_attention.lanes import attend
from sestina.kernels.paged_attention.pages import Pages
from sestina.kernels.paged_attention.plan import plan
from sestina.kernels.paged_attention.scratch import prepare, scratch_len

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
    scratch = np.empty(scratch_len(num_heads // num_kv_heads, num_kv_heads, head_dim), np.float32)
    prepare(scratch)
    k, v = (
        pool.view(BITS[pool.dtype]).view(pool.shape[0], -1).numpy() for pool in (k_pool, v_pool)
    )
    arrays = pages.arrays()
    runs, items = plan(arrays, num_heads // num_kv_heads, num_kv_heads, num_threads=1)
    for item in items:
        attend(
            q.view(num_tokens, -1).numpy(),
            k,
            v,
            arrays.page_table,
            runs,
            item,
            num_heads,
            num_kv_heads,
            head_dim,
            np.float32(scale),
            scratch,
            out.view(num_tokens, -1).numpy(),
        )
    return out
