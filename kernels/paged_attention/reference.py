"""The meaning of paged_attention in plain torch: gather, multiply, softmax, multiply."""

from __future__ import annotations

import torch
from torch import Tensor

from sestina.kernels.paged_attention.pages import Pages


def paged_attention(
    q: Tensor, k_pool: Tensor, v_pool: Tensor, pages: Pages, scale: float
) -> Tensor:
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    starts, lens = pages.query_start.tolist(), pages.seq_lens.tolist()
    for b, table_row in enumerate(pages.table_rows.tolist()):
        slots = pages.page_table[table_row, : lens[b]].long()
        rows = slice(starts[b], starts[b + 1])
        out[rows] = attend(q[rows], k_pool[slots], v_pool[slots], scale).to(q.dtype)
    return out


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """One row: q [T, H, D] are the last T of the S tokens of k, v [S, G, D]; out [T, H, D]."""
    num_new, _, head_dim = q.shape
    seq_len, num_kv_heads, _ = k.shape
    grouped = q.float().view(num_new, num_kv_heads, -1, head_dim)  # [T, G, H / G, D]
    scores = torch.einsum("tgrd,sgd->grts", grouped, k.float()) * scale
    last_seen = torch.arange(seq_len - num_new, seq_len, device=q.device)  # [T]
    hidden = torch.arange(seq_len, device=q.device) > last_seen[:, None]  # [T, S]
    weights = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
    return torch.einsum("grts,sgd->tgrd", weights, v.float()).reshape(q.shape)
