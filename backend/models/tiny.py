"""Small models with seeded random weights, for tests and documentation."""

from __future__ import annotations

import torch
from torch import Tensor

from sestina.backend.batch import ModelConfig
from sestina.backend.models.llama_loader import build_packed_llama, expected_shapes
from sestina.backend.models.packed_llama import PackedLlama


def tiny_config(
    *,
    vocab_size: int = 320,
    num_layers: int = 2,
    hidden_size: int = 64,
    num_heads: int = 4,
    num_kv_heads: int = 2,
    max_len: int = 2048,
) -> ModelConfig:
    return ModelConfig(
        architecture="LlamaForCausalLM",
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=hidden_size // num_heads,
        max_len=max_len,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        rope_scaling={},
        tie_embeddings=False,
    )


def tiny_llama(
    seed: int = 0,
    *,
    vocab_size: int = 320,
    num_layers: int = 2,
    hidden_size: int = 64,
    num_heads: int = 4,
    num_kv_heads: int = 2,
    max_len: int = 2048,
    dtype: torch.dtype = torch.float32,
) -> PackedLlama:
    """A Llama of random weights on the CPU: same seed and sizes, same weights.

    The weights are scaled so that logits spread by about 2 and depend on the whole prefix, as a
    trained model's do; greedy continuations then have no near ties.

    >>> tiny_llama(seed=1, vocab_size=260).config.vocab_size
    260
    """
    config = tiny_config(
        vocab_size=vocab_size,
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        max_len=max_len,
    )
    tensors = random_tensors(config, seed)
    return build_packed_llama(config, tensors, dtype)


def random_tensors(config: ModelConfig, seed: int) -> dict[str, Tensor]:
    """A checkpoint's tensors, float32: matrices keep the scale of what they multiply."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in expected_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            tensors[name] = 1.0 + 0.1 * noise if name.endswith("norm.weight") else 0.1 * noise
        elif "embed_tokens" in name:
            tensors[name] = noise
        else:
            gain = 2.0 if name.startswith("lm_head") else 1.0
            tensors[name] = noise * (gain / shape[1] ** 0.5)
    return tensors
