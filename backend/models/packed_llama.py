"""The Llama architecture on a CPU: `sestina.backend.models.llama` in one compiled call a step.

Weights are float32, bfloat16 or int8 (quantised here, per output channel), packed for the kernels
of `sestina.kernels.decoder`; keys and values are float32 beside float32 weights, else bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sestina.backend.batch import Batch, KVPool, ModelConfig
from sestina.backend.models.rope import cos_sin
from sestina.kernels.decoder import Decoder, Shape, Weights, runs_of
from sestina.kernels.linear.packed import Packed, Packer, interleave

WEIGHT_DTYPES = (torch.float32, torch.bfloat16, torch.int8)


@dataclass(frozen=True, slots=True)
class PackedLlama:
    """A loaded model (`sestina.backend.batch.Model`), on as many threads as torch has."""

    config: ModelConfig
    dtype: torch.dtype  # of the weights
    rope_frequencies: Tensor  # [D / 2] float32
    decoder: Decoder

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def kv_dtype(self) -> torch.dtype:
        return torch.float32 if self.dtype is torch.float32 else torch.bfloat16

    @torch.no_grad()
    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        """Logits [N, V] float32 of `batch.logit_rows`; K/V of all new tokens go into `kv`."""
        return self.decoder.logits(
            token_ids=batch.token_ids,
            cos_sin=cos_sin(batch.positions, self.rope_frequencies),
            slots=batch.slots,
            runs=runs_of(batch.query_start, batch.seq_lens, batch.table_rows),
            page_table=batch.page_table,
            logit_rows=batch.logit_rows,
            k_pool=kv.k,
            v_pool=kv.v,
        )


@dataclass(frozen=True, slots=True)
class LayerNames:
    """A layer's tensors by their role; `bias(weight name)` is None where there is none."""

    attention_norm: str
    qkv: tuple[str, str, str]
    out: str
    mlp_norm: str
    gate: str
    up: str
    down: str


Read = Callable[[str], Tensor]
ReadBias = Callable[[str], "Tensor | None"]


def pack(
    config: ModelConfig,
    layers: list[LayerNames],
    norm: str,
    lm_head: str,
    embedding: str,
    dtype: torch.dtype,
    read: Read,
    bias: ReadBias,
) -> Decoder:
    """Read and pack the weights, a tensor at a time; tied embeddings share one matrix."""
    qkv, out, gate_up, down = (Packer.of(dtype) for _ in range(4))
    attention_norms, mlp_norms = [], []
    for names in layers:
        attention_norms.append(read(names.attention_norm).float().numpy())
        mlp_norms.append(read(names.mlp_norm).float().numpy())
        biases = [bias(name) for name in names.qkv]
        qkv.add(torch.cat([read(name) for name in names.qkv]), _joined(biases))
        out.add(read(names.out), bias(names.out))
        gate_bias, up_bias = bias(names.gate), bias(names.up)
        both = None if gate_bias is None or up_bias is None else interleave(gate_bias, up_bias)
        gate_up.add(interleave(read(names.gate), read(names.up)), both)
        down.add(read(names.down), bias(names.down))
    head = _one(read(lm_head), dtype)
    weights = Weights(
        attention_norm=np.stack(attention_norms),
        qkv=qkv.packed(),
        out=out.packed(),
        mlp_norm=np.stack(mlp_norms),
        gate_up=gate_up.packed(),
        down=down.packed(),
        norm=read(norm).float().numpy(),
        lm_head=head,
        embedding=head if embedding == lm_head else _one(read(embedding), dtype),
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


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None
