"""Attention of new tokens over keys and values that lie in pages, causal by position.

For row b with new tokens t = query_start[b] .. query_start[b+1]-1, the last ones of a sequence of
S = seq_lens[b] tokens, token t at position p = S - (query_start[b+1] - t) attends to positions
0 .. p. Position s lies in pool slot page_table[table_rows[b], s], its own key and value included.

    out[t, h] = sum_s softmax_s(scale * q[t, h] . k[s, g]) * v[s, g]      g = h // (H / G)

Grouped heads: Ainslie et al., "GQA", 2023. Pages: Kwon et al., "Efficient Memory Management for
Large Language Model Serving with PagedAttention", 2023 (ours hold one token each).
"""

from __future__ import annotations

from torch import Tensor

from sestina.kernels.paged_attention import cpu, reference
from sestina.kernels.paged_attention.pages import Pages

__all__ = ["Pages", "paged_attention"]


def paged_attention(
    q: Tensor, k_pool: Tensor, v_pool: Tensor, pages: Pages, scale: float
) -> Tensor:
    """q [T, H, D]; k_pool, v_pool [P, G, D] of one dtype and layout; out [T, H, D] like q.

    A row's result does not depend on the other rows. Scores and sums are float32. Costs
    2 * H * D multiplications per new token and position seen; nothing is written but `out`.
    """
    if q.is_cpu and cpu.supports(q, k_pool):
        return cpu.paged_attention(q, k_pool, v_pool, pages, scale)
    return reference.paged_attention(q, k_pool, v_pool, pages, scale)
