"""The Llama architecture on a CPU: `sestina.backend.models.llama` in one compiled call a step.

Weights are float32, bfloat16 or int8 (quantised here, per output channel), packed for the kernels
of `sestina.kernels.decoder`; keys and values are float32 beside float32 weights, else bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sestina.backend.batch import Batch, KVPool, ModelConfig
from sestina.backend.models.llama import LlamaLayer
from sestina.backend.weights.packed_file import Array, Expected
from sestina.kernels.decoder import Decoder, Pages, Shape, Weights
from sestina.kernels.linear.packed import PAIR, TILE, WIDTH, Packed, Packer, interleave, padded


@dataclass(frozen=True, slots=True)
class PackedLlama:
    """A loaded model (`sestina.backend.batch.Model`), on as many threads as torch has."""

    config: ModelConfig
    dtype: torch.dtype  # of the weights
    decoder: Decoder

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def kv_dtype(self) -> torch.dtype:
        return torch.float32 if self.dtype is torch.float32 else torch.bfloat16

    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        """Logits [N, V] float32 of `batch.logit_rows`; K/V of all new tokens go into `kv`."""
        return self.decoder.logits(
            token_ids=batch.token_ids,
            positions=batch.positions,
            slots=batch.slots,
            pages=Pages(batch.page_table, batch.table_rows, batch.seq_lens, batch.query_start),
            logit_rows=batch.logit_rows,
            k_pool=kv.k,
            v_pool=kv.v,
        )


def pack(
    config: ModelConfig,
    dtype: torch.dtype,
    frequencies: Tensor,
    layers: Iterable[LlamaLayer],
    norm: Tensor,
    lm_head: Tensor,
    embedding: Tensor | None,
) -> Weights:
    """Pack weights, a layer at a time; no embedding of its own: it is tied to the head."""
    qkv, out, gate_up, down = (Packer.of(dtype) for _ in range(4))
    attention_norms, mlp_norms = [], []
    for layer in layers:
        attention_norms.append(layer.attention_norm.numpy())
        mlp_norms.append(layer.mlp_norm.numpy())
        qkv.add(layer.qkv, layer.qkv_bias)
        out.add(layer.out, layer.out_bias)
        bias = layer.gate_up_bias
        both = None if bias is None else interleave(*bias.chunk(2))
        gate_up.add(interleave(*layer.gate_up.chunk(2)), both)
        down.add(layer.down, layer.down_bias)
    head = _one(lm_head, dtype)
    return Weights(
        frequencies=frequencies.numpy(),
        attention_norm=np.stack(attention_norms),
        qkv=qkv.packed(),
        out=out.packed(),
        mlp_norm=np.stack(mlp_norms),
        gate_up=gate_up.packed(),
        down=down.packed(),
        norm=norm.numpy(),
        lm_head=head,
        embedding=head if embedding is None else _one(embedding, dtype),
    )


def decoder(config: ModelConfig, weights: Weights) -> Decoder:
    """What computes with the weights, on as many threads as torch has."""
    shape = Shape.of(
        num_layers=config.num_layers,
        hidden=config.hidden_size,
        inner=config.intermediate_size,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        vocab=config.vocab_size,
        eps=config.rms_norm_eps,
    )
    return Decoder(shape, weights, torch.get_num_threads())


def expected_arrays(config: ModelConfig, dtype: torch.dtype) -> dict[str, Expected]:
    """dtype and shape of what `to_arrays` gives of a model's weights."""
    heads = config.num_heads * config.head_dim
    both = 2 * padded(config.intermediate_size, TILE)
    queries = heads + 2 * config.num_kv_heads * config.head_dim
    width, inner, num_layers = config.hidden_size, config.intermediate_size, config.num_layers
    matrices = {
        "qkv": (num_layers, queries, width, config.attention_bias),
        "out": (num_layers, width, heads, config.attention_bias),
        "gate_up": (num_layers, both, width, config.mlp_bias),
        "down": (num_layers, width, inner, config.mlp_bias),
        "lm_head": (1, config.vocab_size, width, False),
    }
    if not config.tie_embeddings:
        matrices["embedding"] = matrices["lm_head"]
    stored = {torch.int8: np.int8, torch.bfloat16: np.uint16, torch.float32: np.float32}[dtype]
    expected = {}
    for name, (count, num_columns, columns_width, has_bias) in matrices.items():
        size = padded(num_columns, PAIR)
        expected[f"{name}.weights"] = Expected(stored, (count, size * padded(columns_width, WIDTH)))
        expected[f"{name}.scales"] = Expected(np.float32, (count, size))
        if has_bias:
            expected[f"{name}.bias"] = Expected(np.float32, (count, size))
    # Last, since theirs are not always whole cache lines.
    expected["attention_norm"] = expected["mlp_norm"] = Expected(np.float32, (num_layers, width))
    expected["norm"] = Expected(np.float32, (width,))
    return expected


def to_arrays(weights: Weights, expected: Mapping[str, Expected]) -> dict[str, Array]:
    """By name and in the order of `expected_arrays`; frequencies are computed, not kept."""
    arrays = {}
    for name in expected:
        field, _, part = name.partition(".")
        held = getattr(weights, field)
        arrays[name] = getattr(held, part) if part else held
    return arrays


def from_arrays(arrays: Mapping[str, Array], frequencies: Tensor) -> Weights:
    """The inverse; matrices and biases stay where they are."""

    def matrix(name: str) -> Packed:
        bias = arrays.get(f"{name}.bias", np.zeros((0, 0), np.float32))
        return Packed(arrays[f"{name}.weights"], arrays[f"{name}.scales"], bias)

    head = matrix("lm_head")
    return Weights(
        frequencies=frequencies.numpy(),
        attention_norm=arrays["attention_norm"].copy(),
        qkv=matrix("qkv"),
        out=matrix("out"),
        mlp_norm=arrays["mlp_norm"].copy(),
        gate_up=matrix("gate_up"),
        down=matrix("down"),
        norm=arrays["norm"].copy(),
        lm_head=head,
        embedding=matrix("embedding") if "embedding.weights" in arrays else head,
    )


def _one(matrix: Tensor, dtype: torch.dtype) -> Packed:
    packer = Packer.of(dtype)
    packer.add(matrix)
    return packer.packed()
