"""The native Llama equals the Hugging Face one on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.registry import build_model
from sestina.backend.weights.read import read_checkpoint

TOKENS = torch.randint(0, 99, (60,), generator=torch.Generator().manual_seed(0)).tolist()

BASE: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "initializer_range": 0.3,  # large, so that mistakes show in the logits
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "grouped": {},
    "multi-head": {"num_key_value_heads": 6},
    "multi-query": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide heads": {"head_dim": 16},
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    "llama3": {"rope_parameters": LLAMA3},
}


def save(directory: Path, config: Any, model_class: Any, **options: Any) -> Tensor:
    """A random checkpoint as transformers writes it; returns its logits for TOKENS."""
    torch.manual_seed(1)
    model = model_class(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "norm.weight")):
            torch.nn.init.normal_(parameter, mean=0.5, std=0.3)
    model.save_pretrained(directory, **options)
    with torch.no_grad():
        logits: Tensor = model(torch.tensor([TOKENS])).logits[0]
    return logits


def load_and_run(directory: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    checkpoint = read_checkpoint(directory)
    model = build_model(checkpoint.config, checkpoint.tensors, dtype, torch.device("cpu"))
    return sequence_logits(model, TOKENS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_equal_transformers(variant: str, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**{**BASE, **VARIANTS[variant]})
    want = save(tmp_path, config, LlamaForCausalLM)
    torch.testing.assert_close(load_and_run(tmp_path), want, rtol=1e-4, atol=1e-4)


def test_shards_are_joined(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    want = save(tmp_path, LlamaConfig(**BASE), LlamaForCausalLM, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    torch.testing.assert_close(load_and_run(tmp_path), want, rtol=1e-4, atol=1e-4)


def test_mistral(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(**BASE, sliding_window=None)
    want = save(tmp_path, config, MistralForCausalLM)
    torch.testing.assert_close(load_and_run(tmp_path), want, rtol=1e-4, atol=1e-4)


def test_bfloat16_weights_stay_near_float32(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    want = save(tmp_path, LlamaConfig(**{**BASE, "initializer_range": 0.1}), LlamaForCausalLM)
    got = load_and_run(tmp_path, torch.bfloat16)
    assert got.dtype == torch.float32
    assert (got - want).abs().max() < 0.02 * want.abs().max()
