"""Which architectures are known, and what builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sestina.backend.batch import Model, ModelConfig
from sestina.backend.models.llama_loader import build_llama, build_packed_llama
from sestina.backend.models.packed_llama import WEIGHT_DTYPES
from sestina.lang.errors import ModelError

Builder = Callable[[ModelConfig, Mapping[str, Tensor], torch.dtype, torch.device], Model]

BUILDERS: Mapping[str, Builder] = {
    "LlamaForCausalLM": build_llama,
    "MistralForCausalLM": build_llama,
}

CpuBuilder = Callable[[ModelConfig, Mapping[str, Tensor], torch.dtype], Model]

CPU_BUILDERS: Mapping[str, CpuBuilder] = dict.fromkeys(BUILDERS, build_packed_llama)


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
    on_cpu = device.type == "cpu"
    dtypes = WEIGHT_DTYPES if on_cpu else (torch.float32, torch.bfloat16)
    if dtype not in dtypes:
        names = ", ".join(str(one).removeprefix("torch.") for one in dtypes)
        raise ModelError(f"models run in {names} on {device.type!r}, not {dtype}")
    if on_cpu:
        return CPU_BUILDERS[config.architecture](config, tensors, dtype)
    return BUILDERS[config.architecture](config, tensors, dtype, device)
