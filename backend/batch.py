"""One forward pass: what the scheduler hands to a model, and the KV memory it works on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sestina.kernels import aligned


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a decoder-only transformer, in the field's names (Hugging Face config.json).

    rope_scaling: the config's own dict ({} for none); `models.rope` refuses kinds it does not know.
    max_len: the longest sequence the model was made for.
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_len: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: dict[str, object]
    tie_embeddings: bool
    attention_bias: bool = False
    mlp_bias: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """B rows (branches), T new tokens in all; prefill chunks and decodes mix freely.

    Row b's new tokens are `token_ids[query_start[b]:query_start[b+1]]`; they are the last tokens
    of a sequence of `seq_lens[b]` tokens whose earlier keys and values already lie in the pool.
    `page_table[table_rows[b], s]` is the pool slot of the row's token number s, new ones included
    (one token a page). All index tensors live on the model's device.
    """

    token_ids: Tensor  # [T] int64
    positions: Tensor  # [T] int64, position of each new token in its sequence
    slots: Tensor  # [T] int64, where each new token's key and value go
    query_start: Tensor  # [B+1] int32
    seq_lens: Tensor  # [B] int32, new tokens included
    table_rows: Tensor  # [B] int32, row of the page table
    page_table: Tensor  # [R, S] int32, shared by all batches, read only here
    logit_rows: Tensor  # [N] int64, which of the T tokens need logits, ascending

    @property
    def num_tokens(self) -> int:
        return int(self.token_ids.shape[0])

    @property
    def num_rows(self) -> int:
        return int(self.seq_lens.shape[0])


@dataclass(frozen=True, slots=True)
class KVPool:
    """Keys and values of every slot, per layer. Slot contents are undefined until stored."""

    k: Tensor  # [L, P, G, D]
    v: Tensor  # [L, P, G, D]

    @classmethod
    def empty(
        cls, config: ModelConfig, num_slots: int, dtype: torch.dtype, device: torch.device
    ) -> KVPool:
        shape = (config.num_layers, num_slots, config.num_kv_heads, config.head_dim)
        return cls(_zeros(shape, dtype, device), _zeros(shape, dtype, device))

    @staticmethod
    def bytes_per_slot(config: ModelConfig, dtype: torch.dtype) -> int:
        return 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype.itemsize


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """On a CPU in numpy's memory, which Linux gives in pages of 2 MiB: slots lie anywhere, and
    attention and storing take 5 to 8 % less time than with pages of 4 KiB."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = aligned.zeros(math.prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(memory).view(dtype).view(shape)


class Model(Protocol):
    """A loaded model. `forward` reads and writes only its arguments."""

    @property
    def config(self) -> ModelConfig: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def kv_dtype(self) -> torch.dtype:
        """The dtype of the KVPool this model reads and writes."""

    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        """Stores K/V of the new tokens into `kv` and returns logits [N, V] float32."""
