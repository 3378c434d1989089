from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sestina.kernels.paged_attention import Pages, cpu, paged_attention, reference
from sestina.kernels.paged_attention.plan import RUN_LEN

ROWS = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 40)), min_size=1, max_size=5)
"""(new tokens, tokens before them) of each row."""


def pages_of(rows: list[tuple[int, int]], num_slots: int, seed: int) -> Pages:
    """Scattered slots, table rows in another order than the batch's, junk past each sequence."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(new + old for new, old in rows)
    table = torch.randint(0, num_slots, (len(rows) + 2, longest + 3), generator=generator)
    new = torch.tensor([0] + [new for new, _ in rows])
    return Pages(
        page_table=table.int(),
        table_rows=torch.randperm(len(rows) + 2, generator=generator)[: len(rows)].int(),
        seq_lens=torch.tensor([new + old for new, old in rows], dtype=torch.int32),
        query_start=new.cumsum(0).int(),
    )


def tensors(
    rows: list[tuple[int, int]], num_kv_heads: int, group: int, head_dim: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Pages]:
    generator = torch.Generator().manual_seed(seed)
    num_tokens = sum(new for new, _ in rows)
    # A view into a wider row, as in the model.
    q = torch.randn((num_tokens, num_kv_heads * group + 1, head_dim), generator=generator)[:, :-1]
    k, v = torch.randn((2, 64, num_kv_heads, head_dim), generator=generator)
    return q, k, v, pages_of(rows, 64, seed)


@given(
    rows=ROWS,
    num_kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    head_dim=st.sampled_from([2, 6, 16, 33]),
    seed=st.integers(0, 1 << 30),
)
@settings(deadline=None, max_examples=40)
def test_cpu_equals_reference(
    rows: list[tuple[int, int]], num_kv_heads: int, group: int, head_dim: int, seed: int
) -> None:
    q, k, v, pages = tensors(rows, num_kv_heads, group, head_dim, seed)
    want = reference.paged_attention(q, k, v, pages, 0.3)
    torch.testing.assert_close(cpu.paged_attention(q, k, v, pages, 0.3), want, rtol=1e-4, atol=1e-5)


@given(rows=ROWS, seed=st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=25)
def test_a_row_alone_gives_the_same_bits(rows: list[tuple[int, int]], seed: int) -> None:
    q, k, v, pages = tensors(rows, 2, 2, 16, seed)
    together = paged_attention(q, k, v, pages, 0.25)
    for b in range(len(rows)):
        first, end = int(pages.query_start[b]), int(pages.query_start[b + 1])
        alone = Pages(
            pages.page_table,
            pages.table_rows[b : b + 1],
            pages.seq_lens[b : b + 1],
            torch.tensor([0, end - first], dtype=torch.int32),
        )
        assert torch.equal(paged_attention(q[first:end], k, v, alone, 0.25), together[first:end])


@pytest.mark.parametrize("num_new", [1, 3, 30, 2 * RUN_LEN + 3])
def test_equals_dense_causal_attention(num_new: int) -> None:
    """Against torch on the gathered sequence, without our own reference."""
    q, k, v, pages = tensors([(num_new, 31)], 2, 2, 8, seed=3)
    slots = pages.page_table[int(pages.table_rows[0]), : num_new + 31].long()
    mask = torch.ones(num_new, num_new + 31, dtype=torch.bool).tril(31)
    want = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(0, 1)[None],
        k[slots].repeat_interleave(2, dim=1).transpose(0, 1)[None],
        v[slots].repeat_interleave(2, dim=1).transpose(0, 1)[None],
        attn_mask=mask,
        scale=0.4,
    )
    got = paged_attention(q, k, v, pages, 0.4)
    torch.testing.assert_close(got, want[0].transpose(0, 1), rtol=1e-4, atol=1e-5)


def test_large_scores_do_not_overflow() -> None:
    q, k, v, pages = tensors([(1, 10), (20, 5)], 1, 2, 16, seed=1)
    got = paged_attention(100 * q, 100 * k, v, pages, 1.0)
    assert torch.isfinite(got).all()
    want = reference.paged_attention(100 * q, 100 * k, v, pages, 1.0)
    torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("head_dim", [16, 33, 64])
def test_pools_in_bfloat16(head_dim: int) -> None:
    q, k, v, pages = tensors([(2, 35), (1, 4), (40, 0)], 2, 3, head_dim, seed=2)
    k, v = k.bfloat16(), v.bfloat16()
    assert cpu.supports(q, k) == (head_dim % 2 == 0)
    got = paged_attention(q, k, v, pages, 0.25)
    want = reference.paged_attention(q, k, v, pages, 0.25)
    torch.testing.assert_close(got, want, rtol=0, atol=3e-2)


def test_queries_in_bfloat16_take_the_reference() -> None:
    q, k, v, pages = tensors([(2, 5)], 1, 2, 16, seed=1)
    got = paged_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), pages, 0.25)
    assert got.dtype == torch.bfloat16
    want = paged_attention(q, k, v, pages, 0.25)
    torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)
