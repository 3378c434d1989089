"""Compiled attention: against softmax in float64, and against itself in pieces and in company."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sestina.kernels.paged_attention import lanes
from sestina.kernels.paged_attention.plan import BLOCK, RUN_LEN
from sestina.kernels.paged_attention.scratch import prepare, scratch_len

Floats = NDArray[np.float32]


class Kind(NamedTuple):
    dtype: torch.dtype  # of the pools
    amx: bool  # where the CPU has it
    error: float  # of results from random numbers of size 1


class Case(NamedTuple):
    """One sequence whose last `num_new` tokens are new; slots scattered over the pool."""

    q: Floats  # [T, H * D and some]
    k_pool: NDArray[np.float32] | NDArray[np.uint16]
    v_pool: NDArray[np.float32] | NDArray[np.uint16]
    slots: NDArray[np.int32]
    num_new: int
    num_kv_heads: int
    group: int
    head_dim: int
    kind: Kind

    def attend(self, t0: int, t1: int, out: Floats) -> None:
        """Tokens t0 .. t1 - 1, all heads, in a scratch full of NaN."""
        seen = self.slots.shape[0] - self.num_new + 1 + t0
        runs = [[0, at, min(at + RUN_LEN, t1), seen + at - t0] for at in range(t0, t1, RUN_LEN)]
        for run in range(len(runs)):
            for kv_head in range(self.num_kv_heads):
                attend(self, [self.slots], runs, [run, run + 1, 0, kv_head, 1], out)

    def empty(self) -> Floats:
        heads = self.num_kv_heads * self.group
        return np.full((self.num_new, heads * self.head_dim), np.nan, np.float32)

    def expected(self) -> NDArray[np.float64]:
        shape = (-1, self.num_kv_heads, self.head_dim)
        k, v = (
            widened(pool)[self.slots].reshape(shape).astype(np.float64)
            for pool in (self.k_pool, self.v_pool)
        )
        out = self.empty().astype(np.float64)
        before = self.slots.shape[0] - self.num_new
        for t in range(self.num_new):
            for h in range(self.num_kv_heads * self.group):
                columns = slice(h * self.head_dim, (h + 1) * self.head_dim)
                g, seen = h // self.group, before + t + 1
                scores = k[:seen, g] @ self.q[t, columns].astype(np.float64) * self.head_dim**-0.5
                weights = np.exp(scores - scores.max())
                out[t, columns] = weights / weights.sum() @ v[:seen, g]
        return out


def attend(
    it: Case,
    page_table: list[NDArray[np.int32]],
    runs: list[list[int]],
    item: list[int],
    out: Floats,
) -> None:
    length = scratch_len(it.group, it.num_kv_heads, it.head_dim)
    scratch = np.full(length, np.nan, np.float32)
    prepare(scratch)
    if not it.kind.amx:
        scratch[0] = 0.0
    lanes.attend(
        it.q, it.k_pool, it.v_pool, np.stack(page_table), np.array(runs, np.int32),
        np.array(item, np.int32), it.num_kv_heads * it.group, it.num_kv_heads, it.head_dim,
        np.float32(it.head_dim**-0.5), scratch, out,
    )  # fmt: skip


def widened(pool: NDArray[np.float32] | NDArray[np.uint16]) -> Floats:
    if pool.dtype == np.uint16:
        return (pool.astype(np.uint32) << 16).view(np.float32)
    return pool.astype(np.float32)


def case(
    num_new: int, before: int, heads: tuple[int, int], head_dim: int, kind: Kind, seed: int
) -> Case:
    random = torch.Generator().manual_seed(seed)
    num_kv_heads, group = heads
    seq_len = num_new + before
    q = torch.randn((num_new, (num_kv_heads * group + 1) * head_dim), generator=random)
    pools = torch.randn((2, seq_len + 9, num_kv_heads * head_dim), generator=random)
    k, v = pools.numpy()
    if kind.dtype is torch.bfloat16:
        k, v = pools.bfloat16().view(torch.uint16).numpy()
    slots = torch.randperm(seq_len + 9, generator=random)[:seq_len].int().numpy()
    return Case(q.numpy(), k, v, slots, num_new, num_kv_heads, group, head_dim, kind)


KINDS = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(Kind(torch.float32, amx=False, error=3e-6), id="f32"),
        pytest.param(Kind(torch.bfloat16, amx=True, error=2e-2), id="bf16"),
        pytest.param(Kind(torch.bfloat16, amx=False, error=2e-2), id="bf16-no-amx"),
    ],
)
HEADS = st.tuples(st.integers(1, 3), st.integers(1, 5))
EDGES = [0, 1, 15, 16, 31, 32, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1]


@KINDS
@given(
    num_new=st.one_of(st.integers(1, 8), st.integers(9, 150)),
    before=st.one_of(st.sampled_from(EDGES), st.integers(0, 400)),
    heads=HEADS,
    head_dim=st.sampled_from([2, 6, 16, 34, 64, 80, 96, 128]),
    seed=st.integers(0, 1 << 30),
)
@settings(deadline=None, max_examples=40)
def test_equals_softmax_in_float64(
    kind: Kind, num_new: int, before: int, heads: tuple[int, int], head_dim: int, seed: int
) -> None:
    it = case(num_new, before, heads, head_dim, kind, seed)
    out = it.empty()
    it.attend(0, num_new, out)
    np.testing.assert_allclose(out, it.expected(), rtol=0, atol=kind.error)


@KINDS
@given(data=st.data(), before=st.sampled_from(EDGES), heads=HEADS, seed=st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=40)
def test_pieces_give_the_same_bits(
    kind: Kind, data: st.DataObject, before: int, heads: tuple[int, int], seed: int
) -> None:
    num_new = data.draw(st.integers(2, 80))
    it = case(num_new, before, heads, data.draw(st.sampled_from([6, 64, 80])), kind, seed)
    whole, pieces = it.empty(), it.empty()
    it.attend(0, num_new, whole)
    cuts = data.draw(st.sets(st.integers(1, num_new - 1)))
    edges = [0, *sorted(cuts), num_new]
    for t0, t1 in itertools.pairwise(edges):
        it.attend(t0, t1, pieces)
    assert np.array_equal(whole, pieces)


@KINDS
def test_scores_far_apart(kind: Kind) -> None:
    """One key outweighs all others; its value comes out, and nothing overflows."""
    it = case(3, 300, (1, 2), 64, kind, seed=5)
    it = it._replace(q=np.tile(1000.0 * widened(it.k_pool)[it.slots[200]], (3, 3)))
    out = it.empty()
    it.attend(0, 3, out)
    value = widened(it.v_pool)[it.slots[200]]
    np.testing.assert_allclose(out, np.tile(value, (3, 2)), rtol=1e-5, atol=1e-6)


@KINDS
def test_nan_is_not_hidden(kind: Kind) -> None:
    it = case(1, 40, (1, 2), 64, kind, seed=6)
    it.q[0, 3] = np.nan
    out = it.empty()
    it.attend(0, 1, out)
    assert np.isnan(out[0, :64]).all()
    assert np.isfinite(out[0, 64:]).all()


@KINDS
@given(
    shared=st.integers(0, 3),
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 90)), min_size=2, max_size=6),
    heads=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    head_dim=st.sampled_from([6, 64, 80]),
    seed=st.integers(0, 1 << 30),
)
@settings(deadline=None, max_examples=30)
def test_company_over_shared_keys_gives_the_same_bits(
    kind: Kind,
    shared: int,
    sizes: list[tuple[int, int]],
    heads: tuple[int, int],
    head_dim: int,
    seed: int,
) -> None:
    """Runs of (new tokens, keys of their own before them) behind so many blocks in common.

    One run's own values are NaN: the others do not notice.
    """
    num_new = sum(new for new, _ in sizes)
    it = case(num_new, shared * BLOCK + sum(own for _, own in sizes), heads, head_dim, kind, seed)
    width = max(new + own for new, own in sizes) + shared * BLOCK
    table, runs, first = [], [], 0
    place = shared * BLOCK
    for row, (new, own) in enumerate(sizes):
        slots = np.zeros(width, np.int32)
        slots[: shared * BLOCK] = it.slots[: shared * BLOCK]
        slots[shared * BLOCK :][: new + own] = it.slots[place : place + new + own]
        place += new + own
        table.append(slots)
        runs.append([row, first, first + new, shared * BLOCK + own + 1])
        first += new
    sick = table[-1][shared * BLOCK]
    it.v_pool[sick] = np.float32(np.nan) if kind.dtype is torch.float32 else 0x7FC0
    together, alone = it.empty(), it.empty()
    attend(it, table, runs, [0, len(runs), shared * BLOCK, 0, heads[0]], together)
    for run in range(len(runs)):
        for kv_head in range(heads[0]):
            attend(it, table, runs, [run, run + 1, 0, kv_head, 1], alone)
    assert np.array_equal(together, alone, equal_nan=True)
    healthy = runs[-1][1]
    assert np.isfinite(together[:healthy]).all()
    assert np.isnan(together[healthy:]).all()
