"""The Llama architecture: Llama 2 and 3, Mistral, SmolLM2, TinyLlama.

Per layer:  x += o(attention(rope(qkv(norm(x)))))        x += down(silu(gate) * up)(norm(x))

Touvron et al., "Llama 2", 2023. What differs from the Hugging Face code: query, key and value (and
gate and up) are one matrix each, so that a step reads them in one stream; keys and values go to
pages; and the batch is ragged, prefill chunks and decodes in one pass.

Precision: on a CPU all activations and the KV cache are float32, and only the weights have the
model's dtype, since decoding costs the bytes of the weights and nearly nothing else. On a GPU
activations have the weights' dtype. Norms, rotations and softmax are float32 on both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sestina.backend.batch import Batch, KVPool, ModelConfig
from sestina.backend.models.rope import cos_sin
from sestina.kernels.kv_store import kv_store
from sestina.kernels.linear import linear
from sestina.kernels.paged_attention import Pages, paged_attention
from sestina.kernels.rms_norm import rms_norm
from sestina.kernels.rope import rope
from sestina.kernels.silu_mul import silu_mul


@dataclass(frozen=True, slots=True)
class LlamaLayer:
    """Weights of one layer; norms float32, the others of the model's dtype. C is hidden_size."""

    attention_norm: Tensor  # [C]
    qkv: Tensor  # [(H + 2 G) * D, C]: query heads, key heads, value heads
    qkv_bias: Tensor | None  # [(H + 2 G) * D]
    out: Tensor  # [C, H * D]
    out_bias: Tensor | None  # [C]
    mlp_norm: Tensor  # [C]
    gate_up: Tensor  # [2 I, C]: gate, then up
    gate_up_bias: Tensor | None  # [2 I]
    down: Tensor  # [C, I]
    down_bias: Tensor | None  # [C]


@dataclass(frozen=True, slots=True)
class Llama:
    """A loaded model (`sestina.backend.batch.Model`). Tied embeddings share one tensor."""

    config: ModelConfig
    dtype: torch.dtype
    device: torch.device
    rope_frequencies: Tensor  # [D / 2] float32
    embedding: Tensor  # [V, C]
    layers: tuple[LlamaLayer, ...]
    norm: Tensor  # [C] float32
    lm_head: Tensor  # [V, C]

    @property
    def kv_dtype(self) -> torch.dtype:
        return torch.float32 if self.device.type == "cpu" else self.dtype

    @torch.no_grad()
    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        """Logits [N, V] float32 of `batch.logit_rows`; K/V of all new tokens go into `kv`."""
        config = self.config
        pages = Pages(batch.page_table, batch.table_rows, batch.seq_lens, batch.query_start)
        cos, sin = cos_sin(batch.positions, self.rope_frequencies)
        residual = functional.embedding(batch.token_ids, self.embedding)  # [T, C]
        residual = residual.to(self.kv_dtype)
        delta: Tensor | None = None  # what the next norm adds to the residual first
        for layer, k_pool, v_pool in zip(self.layers, kv.k, kv.v, strict=True):
            normed = rms_norm(delta, residual, layer.attention_norm, config.rms_norm_eps)
            attended = self._attend(layer, normed, batch, (cos, sin), (k_pool, v_pool), pages)
            delta = linear(attended, layer.out, layer.out_bias)
            normed = rms_norm(delta, residual, layer.mlp_norm, config.rms_norm_eps)
            gated = silu_mul(linear(normed, layer.gate_up, layer.gate_up_bias))  # [T, I]
            delta = linear(gated, layer.down, layer.down_bias)
        if batch.logit_rows.shape[0] != residual.shape[0]:
            residual = residual[batch.logit_rows]
            delta = None if delta is None else delta[batch.logit_rows]
        normed = rms_norm(delta, residual, self.norm, config.rms_norm_eps)
        return linear(normed, self.lm_head).float()

    def _attend(
        self,
        layer: LlamaLayer,
        normed: Tensor,
        batch: Batch,
        cos_sin: tuple[Tensor, Tensor],
        pools: tuple[Tensor, Tensor],
        pages: Pages,
    ) -> Tensor:
        """[T, C] -> [T, H * D]; stores the new keys and values first."""
        config = self.config
        num_rotated = config.num_heads + config.num_kv_heads
        qkv = linear(normed, layer.qkv, layer.qkv_bias)
        heads = qkv.view(qkv.shape[0], -1, config.head_dim)  # [T, H + 2 G, D]
        rope(heads[:, :num_rotated], *cos_sin)
        kv_store(
            heads[:, config.num_heads : num_rotated], heads[:, num_rotated:], batch.slots, *pools
        )
        q = heads[:, : config.num_heads]
        out = paged_attention(q, *pools, pages, scale=config.head_dim**-0.5)
        return out.view(out.shape[0], -1)
