"""Frequencies of rotary embeddings, with the ways of stretching them to longer texts.

`rope_scaling` kinds ("rope_type", in older configs "type"):
    default               none
    linear                all frequencies divided by `factor` (Chen et al. 2023)
    llama3                low frequencies divided by `factor`, high ones kept, a ramp between
    frequency_factors     each frequency divided by its own number of `factors`; what GGUF stores
Any other kind is refused: approximating a position encoding gives quietly wrong text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sestina.backend.batch import ModelConfig
from sestina.lang.errors import ModelError


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """[D / 2] float32 on the CPU: the angle by which each pair of lanes turns per position.

    ModelError for a kind of scaling that is not known or lacks a number.
    """
    lanes = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float()
    frequencies = 1.0 / (config.rope_theta ** (lanes / config.head_dim))
    scaling = config.rope_scaling
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    scale = SCALINGS.get(str(kind))
    if scale is None:
        raise ModelError(f"rope scaling {kind!r} is not supported; known: {', '.join(SCALINGS)}")
    return scale(frequencies, scaling)


def cos_sin(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Of positions [T] int64: cosines and sines, [T, D / 2] float32 each.

    Computed once a forward pass and not kept as a table: a table for 128k positions is 64 MB.
    """
    angles = positions[:, None].float() * frequencies  # [T, D / 2]
    return angles.cos(), angles.sin()


def _default(frequencies: Tensor, scaling: Mapping[str, object]) -> Tensor:
    return frequencies


def _linear(frequencies: Tensor, scaling: Mapping[str, object]) -> Tensor:
    return frequencies / _number(scaling, "factor")


def _llama3(frequencies: Tensor, scaling: Mapping[str, object]) -> Tensor:
    """As in Meta's llama-models (apply_scaling): a ramp over wavelengths between the two bounds."""
    factor = _number(scaling, "factor")
    low, high = _number(scaling, "low_freq_factor"), _number(scaling, "high_freq_factor")
    old_len = _number(scaling, "original_max_position_embeddings")
    if not low < high:
        raise ModelError(f"rope scaling 'llama3': low_freq_factor {low} is not below {high}")
    turns = old_len * frequencies / (2 * math.pi)  # in the context the model was trained with
    kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)  # 0: slow lanes, all of the factor
    return (1.0 - kept) * frequencies / factor + kept * frequencies


def _frequency_factors(frequencies: Tensor, scaling: Mapping[str, object]) -> Tensor:
    factors = scaling.get("factors")
    if not isinstance(factors, (list, tuple)) or len(factors) != frequencies.shape[0]:
        raise ModelError(f"rope frequency factors must be {frequencies.shape[0]} numbers")
    return frequencies / torch.tensor(factors, dtype=torch.float32)


SCALINGS: Mapping[str, Callable[[Tensor, Mapping[str, object]], Tensor]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "frequency_factors": _frequency_factors,
}


def _number(scaling: Mapping[str, object], name: str) -> float:
    value = scaling.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ModelError(f"rope scaling needs a positive number {name!r}, got {value!r}")
    return float(value)
