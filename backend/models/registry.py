"""Which architectures are known, and what builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sestina.backend.batch import Model, ModelConfig
from sestina.backend.device import DTYPES, ON_CPU
from sestina.backend.models.llama_loader import build_llama, build_packed_llama
from sestina.backend.weights.packed_file import PackedFile
from sestina.lang.errors import ModelError

Builder = Callable[
    [ModelConfig, Mapping[str, Tensor], torch.dtype, torch.device, PackedFile | None], Model
]


def _llama(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    device: torch.device,
    file: PackedFile | None,
) -> Model:
    if device.type == "cpu":
        return build_packed_llama(config, tensors, dtype, file)
    return build_llama(config, tensors, dtype, device)


BUILDERS: Mapping[str, Builder] = {"LlamaForCausalLM": _llama, "MistralForCausalLM": _llama}


def build_model(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    device: torch.device,
    file: PackedFile | None = None,
) -> Model:
    """A model from a checkpoint's config and tensors (Hugging Face names), on `device`.

    file: where packed weights are kept, for architectures and devices that pack them.

    ModelError for an unknown architecture, and whatever the architecture's builder refuses.
    """
    if config.architecture not in BUILDERS:
        raise ModelError(
            f"architecture {config.architecture!r} is not supported; known: {', '.join(BUILDERS)}"
        )
    dtypes = ON_CPU if device.type == "cpu" else DTYPES
    if dtype not in dtypes.values():
        raise ModelError(f"models run in {', '.join(dtypes)} on {device.type!r}, not {dtype}")
    return BUILDERS[config.architecture](config, tensors, dtype, device, file)
