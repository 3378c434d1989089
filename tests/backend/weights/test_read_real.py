"""The default model, when it is in the cache: our logits equal those of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.registry import build_model
from sestina.backend.weights.fetch import cached_model
from sestina.backend.weights.read import read_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model_file() -> Path:
    path = cached_model("smollm2-135m-instruct")
    if path is None:
        pytest.skip("smollm2-135m-instruct is not in the cache: sestina models pull")
    return path


def transformers_model(file: Path) -> Any:
    """Through transformers' own GGUF reader, so that nothing of ours takes part."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = LlamaConfig(**load_gguf_checkpoint(str(file))["config"])
    model = LlamaForCausalLM(config).eval()
    loaded = load_gguf_checkpoint(str(file), return_tensors=True, model_to_load=model)
    tensors = {name: torch.as_tensor(value) for name, value in loaded["tensors"].items()}
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    return model


def test_logits_equal_transformers(model_file: Path) -> None:
    checkpoint = read_checkpoint(model_file)
    tokens = torch.randint(
        0, checkpoint.config.vocab_size, (80,), generator=torch.Generator().manual_seed(0)
    )
    model = transformers_model(model_file)
    with torch.no_grad():
        theirs = model(tokens[None]).logits[0]
        want = model.double()(tokens[None]).logits[0]
    cpu = torch.device("cpu")
    f32 = build_model(checkpoint.config, checkpoint.tensors, torch.float32, cpu)
    # Each sum of ours goes along k in one order, which rounds more than blocks of sums do.
    error, least = (
        (x - want).pow(2).mean().sqrt() for x in (sequence_logits(f32, tokens.tolist()), theirs)
    )
    assert error < 2 * least
    assert error < 3e-5
    bf16 = build_model(checkpoint.config, checkpoint.tensors, torch.bfloat16, cpu)
    rounded = sequence_logits(bf16, tokens.tolist())
    assert (rounded - want).abs().max() < 0.03 * want.abs().max()
