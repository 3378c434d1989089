"""The Llama architecture on a CPU: `sestina.backend.models.llama` in one compiled call a step.

Weights are float32, bfloat16 or int8 (quantised here, per output channel), packed for the kernels
of `sestina.kernels.decoder`; keys and values are float32 beside float32 weights, else bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sestina.backend.batch import Batch, KVPool, ModelConfig
from sestina.backend.models.llama import LlamaLayer
from sestina.kernels.decoder import Decoder, Pages, Shape, Weights
from sestina.kernels.linear.packed import Packed, Packer, interleave


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
) -> Decoder:
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
    weights = Weights(
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


def _one(matrix: Tensor, dtype: torch.dtype) -> Packed:
    packer = Packer.of(dtype)
    packer.add(matrix)
    return packer.packed()
