"""Which architectures are known, and what builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sestina.backend.batch import Model, ModelConfig
from sestina.backend.models.llama_loader import build_llama
from sestina.lang.errors import ModelError

Builder = Callable[[ModelConfig, Mapping[str, Tensor], torch.dtype, torch.device], Model]

BUILDERS: Mapping[str, Builder] = {
    "LlamaForCausalLM": build_llama,
    "MistralForCausalLM": build_llama,
}


def build_model(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    device: torch.device,
) -> Model:
    """A model from a checkpoint's config and tensors (Hugging Face names), on `device`.

    ModelError for an unknown architecture, and whatever the architecture's builder refuses.
    """
    if config.architecture not in BUILDERS:
        raise ModelError(
            f"architecture {config.architecture!r} is not supported; known: {', '.join(BUILDERS)}"
        )
    if dtype not in (torch.float32, torch.bfloat16):
        raise ModelError(f"models run in float32 or bfloat16, not {dtype}")
    return BUILDERS[config.architecture](config, tensors, dtype, device)
