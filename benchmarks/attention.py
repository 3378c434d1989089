"""Attention on one core: `attend` beside torch's fused attention.

    python benchmarks/attention.py [--group 3] [--head-dim 64]

Per shape (new tokens over positions) and dtype of the pools: microseconds per KV head, the same per
1,000 positions, and GFLOP/s of the products that causality leaves (4 D per query head and pair).
Three KV heads in turn; the least of many calls. torch gets its inputs gathered, one KV head
after another. With `--layers 30` as many pools take turns, so that keys
come from memory as they do in a model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sestina.kernels import aligned
from sestina.kernels.paged_attention.lanes import attend
from sestina.kernels.paged_attention.pages import PageArrays
from sestina.kernels.paged_attention.plan import plan
from sestina.kernels.paged_attention.scratch import prepare, scratch_len

SHAPES = [(1, 500), (1, 1000), (1, 4000), (32, 1000), (128, 1000), (512, 512), (512, 1500)]
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
NUM_KV_HEADS = 3


class Heads(NamedTuple):
    group: int
    head_dim: int


def ours(q: Tensor, pools: Tensor, seq_len: int, heads: Heads) -> Callable[[int], None]:
    """A call of `attend` on one layer; q [T, H * D], pools [L, 2, P, G * D]."""
    num_new = q.shape[0]
    table = np.arange(seq_len, dtype=np.int32)[None]
    pages = PageArrays(
        page_table=table,
        table_rows=np.zeros(1, np.int32),
        seq_lens=np.array([seq_len], np.int32),
        query_start=np.array([0, num_new], np.int32),
    )
    runs, items = plan(pages, heads.group, NUM_KV_HEADS, num_threads=1)
    out = np.empty(q.shape, np.float32)
    scratch = aligned.zeros(scratch_len(heads.group, NUM_KV_HEADS, heads.head_dim), np.float32)
    prepare(scratch)
    bits = pools.view(torch.uint16) if pools.dtype is torch.bfloat16 else pools
    layers = [(layer[0].numpy(), layer[1].numpy()) for layer in bits]
    num_heads = NUM_KV_HEADS * heads.group

    def call(layer: int) -> None:
        for item in items:
            attend(
                q.numpy(), *layers[layer], table, runs, item, num_heads, NUM_KV_HEADS,
                heads.head_dim, np.float32(heads.head_dim**-0.5), scratch, out,
            )  # fmt: skip

    return call


def torchs(q: Tensor, pools: Tensor, seq_len: int, heads: Heads) -> Callable[[int], None]:
    num_new = q.shape[0]
    queries = q.view(num_new, NUM_KV_HEADS, 1, heads.group, heads.head_dim).permute(1, 2, 3, 0, 4)
    queries = queries.to(pools.dtype).contiguous()  # [G, 1, H / G, T, D]
    mask = None
    if 1 < num_new < seq_len:
        mask = torch.ones(num_new, seq_len, dtype=torch.bool).tril(seq_len - num_new)
    layers = pools.unflatten(3, (NUM_KV_HEADS, heads.head_dim)).permute(0, 3, 1, 2, 4).contiguous()
    layers = layers[:, :, :, None, None].expand(-1, -1, -1, -1, heads.group, -1, -1)

    def call(layer: int) -> None:
        for kv_head in range(NUM_KV_HEADS):
            torch.nn.functional.scaled_dot_product_attention(
                queries[kv_head],
                *layers[layer, kv_head],  # [1, H / G, S, D] each
                attn_mask=mask,
                is_causal=mask is None and num_new > 1,
            )

    return call


def seconds(call: Callable[[int], None], num_layers: int) -> float:
    """Of one KV head: the least of the passes over all layers that fit into half a second."""
    least = float("inf")
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        start = time.perf_counter()
        for layer in range(num_layers):
            call(layer)
        least = min(least, (time.perf_counter() - start) / num_layers)
    return least / NUM_KV_HEADS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--group", type=int, default=3, help="query heads of a KV head")
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    heads = Heads(options.group, options.head_dim)
    width = NUM_KV_HEADS * heads.head_dim
    print("pools     new  positions   us ours  torch   us/1,000 ours  torch   GFLOP/s ours  torch")
    for dtype in DTYPES:
        for num_new, seq_len in SHAPES:
            q = torch.randn(num_new, width * heads.group)
            pools = torch.randn(options.layers, 2, seq_len, width).to(dtype)
            times = [
                seconds(kind(q, pools, seq_len, heads), options.layers) for kind in (ours, torchs)
            ]
            seen = num_new * (seq_len - num_new) + num_new * (num_new + 1) / 2
            flops = 4 * heads.head_dim * heads.group * seen
            a, b = times
            print(
                f"{DTYPES[dtype]:9}{num_new:4}{seq_len:11}{a * 1e6:10.1f}{b * 1e6:7.0f}"
                f"{a * 1e9 / seq_len:16.1f}{b * 1e9 / seq_len:7.1f}"
                f"{flops / a / 1e9:15.0f}{flops / b / 1e9:7.0f}"
            )


if __name__ == "__main__":
    main()
