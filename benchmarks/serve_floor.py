"""What a workload costs at the least on this machine, for serve.py.

The floor of a row is

    FLOPs of every distinct token that has to be read, at the rate of a large matrix product
    + the larger of steps x bytes of the weights / bandwidth
                and FLOPs of the drawn tokens at that rate

Distinct tokens are the nodes of a trie of all sequences, less what was drawn: a prefix counts once,
whoever shares it, and what a grammar forces counts as read. Steps are the longest chain of drawn
tokens: everything else runs side by side. Speculation, and a drawn token that a table would have
told, can go below it; KV cache traffic, sampling and Python are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from sestina.backend.batch import ModelConfig

PROBE_ROWS, PIECE_BYTES = 512, 8 * 2**20
WEIGHT_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True)
class Machine:
    """FLOP/s of a product of 512 rows, and bytes/s when the weights are read again and again."""

    flops: float
    bandwidth: float

    @classmethod
    def probe(cls, config: ModelConfig, dtype: str, seconds: float = 2.0) -> Machine:
        """The best of what fits in `seconds` for each: others on the machine only make it worse.

        int8 weights are read at one byte, but multiplied at the rate of bfloat16.
        """
        kind = torch.float32 if dtype == "float32" else torch.bfloat16
        width, out = config.hidden_size, 2 * config.intermediate_size
        rows, weight = torch.randn(PROBE_ROWS, width).to(kind), torch.randn(out, width).to(kind)
        product = _best([lambda: torch.nn.functional.linear(rows, weight)], seconds)
        size = ModelCost.of(config, dtype).step_bytes
        pieces = torch.ones(size // 4).split(PIECE_BYTES // 4)
        reading = _best([piece.sum for piece in pieces], seconds)
        return cls(2 * PROBE_ROWS * width * out / product, size / reading)

    def __str__(self) -> str:
        return f"{self.flops / 1e12:.2f} TFLOP/s, {self.bandwidth / 1e9:.1f} GB/s read"


def _best(works: Sequence[Callable[[], object]], seconds: float) -> float:
    """The least seconds of each of `works`, done in turns, in all.

    Each is far shorter than the time a busy machine gives a process at once.
    """
    best, end = [float("inf")] * len(works), time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, work in enumerate(works):
            started = time.perf_counter()
            work()
            best[i] = min(best[i], time.perf_counter() - started)
    return sum(best)


@dataclass(frozen=True)
class ModelCost:
    """FLOPs and bytes of one model's passes."""

    layers: int  # parameters of all layers' matrices
    head: int  # parameters of the output matrix
    attention: int  # FLOPs per token and per token before it
    weight_bytes: int

    @classmethod
    def of(cls, config: ModelConfig, dtype: str) -> ModelCost:
        hidden, head_dim = config.hidden_size, config.head_dim
        heads = 2 * config.num_heads + 2 * config.num_kv_heads  # q and o; k and v
        layer = hidden * head_dim * heads + 3 * hidden * config.intermediate_size
        return cls(
            layers=config.num_layers * layer,
            head=hidden * config.vocab_size,
            attention=4 * config.num_layers * config.num_heads * head_dim,
            weight_bytes=WEIGHT_BYTES[dtype],
        )

    @property
    def step_bytes(self) -> int:
        """What a decode step reads of the weights."""
        return (self.layers + self.head) * self.weight_bytes

    def floor_s(
        self, machine: Machine, sequences: Iterable[Sequence[int]], sampled: int, steps: int
    ) -> float:
        nodes, depths = trie_size(sequences)
        read = max(nodes - sampled, 0)
        prefill = 2 * self.layers * read + self.attention * depths * read / max(nodes, 1)
        decode_s = max(
            steps * self.step_bytes / machine.bandwidth,
            2 * (self.layers + self.head) * sampled / machine.flops,
        )
        return prefill / machine.flops + decode_s


def trie_size(sequences: Iterable[Sequence[int]]) -> tuple[int, int]:
    """How many distinct prefixes there are, and the sum of their lengths less one.

    >>> trie_size([[1, 2, 3], [1, 2, 4]])
    (4, 5)
    """
    root: dict[int, dict] = {}  # type: ignore[type-arg]
    nodes = depths = 0
    for ids in sequences:
        at = root
        for depth, token_id in enumerate(ids):
            if token_id not in at:
                at[token_id] = {}
                nodes, depths = nodes + 1, depths + depth
            at = at[token_id]
    return nodes, depths
