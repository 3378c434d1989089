"""config.json of a Hugging Face directory, as a ModelConfig.

Every field that changes what the model computes is either honoured or refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sestina.backend.batch import ModelConfig
from sestina.lang.errors import ModelError

MUST_BE: Mapping[str, tuple[object, ...]] = {
    "hidden_act": ("silu", "swish"),
    "partial_rotary_factor": (1, 1.0),
    "quantization_config": (),
    "is_encoder_decoder": (False,),
    "use_sliding_window": (False,),
}
"""Values that these fields may have when they are given and not null."""

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class HfConfig:
    """What config.json and generation_config.json say."""

    model: ModelConfig
    eos_ids: tuple[int, ...]
    bos_id: int | None
    dtype: torch.dtype | None


def read_hf_config(directory: Path) -> HfConfig:
    """ModelError if config.json is missing, malformed, incomplete, or asks for what we lack."""
    raw = read_json(directory / "config.json")
    generation: dict[str, Any] = {}
    if (directory / "generation_config.json").is_file():
        generation = read_json(directory / "generation_config.json")
    fields = _Fields(raw, directory / "config.json")
    bos = raw.get("bos_token_id")
    dtype = raw.get("dtype", raw.get("torch_dtype"))
    return HfConfig(
        model=_model_config(fields),
        eos_ids=_ids(generation.get("eos_token_id", raw.get("eos_token_id")), directory),
        bos_id=bos if isinstance(bos, int) else None,
        dtype=DTYPES.get(dtype) if isinstance(dtype, str) else None,
    )


def _ids(value: object, directory: Path) -> tuple[int, ...]:
    """eos_token_id as transformers writes it: absent, one id, or several."""
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise ModelError(f"{directory}: eos_token_id must be ids, got {value!r}")
    return tuple(ids)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ModelError naming the file otherwise."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} is not a JSON object")
    return data


@dataclass(frozen=True, slots=True)
class _Fields:
    raw: Mapping[str, Any]
    path: Path

    def number(self, name: str, default: float | None = None) -> float:
        value = self.raw.get(name)
        if value is None:
            value = default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ModelError(f"{self.path}: {name} must be a positive number, got {value!r}")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.number(name, default)
        if not isinstance(value, int):
            raise ModelError(f"{self.path}: {name} must be an integer, got {value!r}")
        return value

    def flag(self, name: str) -> bool:
        return bool(self.raw.get(name))


def _model_config(fields: _Fields) -> ModelConfig:
    raw = fields.raw
    architectures = raw.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1:
        raise ModelError(f"{fields.path}: architectures must name one class, got {architectures!r}")
    for name, allowed in MUST_BE.items():
        if raw.get(name) is not None and raw[name] not in allowed:
            raise ModelError(f"{fields.path}: {name} = {raw[name]!r} is not supported")
    hidden_size, num_heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    max_len = fields.integer("max_position_embeddings", 2048)
    window = fields.integer("sliding_window", max_len)
    if window < max_len:
        raise ModelError(
            f"{fields.path}: sliding_window = {window} is below max_position_embeddings = "
            f"{max_len}; sliding-window attention is not supported"
        )
    theta, scaling = _rope(fields)
    return ModelConfig(
        architecture=str(architectures[0]),
        vocab_size=fields.integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=fields.integer("intermediate_size"),
        num_layers=fields.integer("num_hidden_layers"),
        num_heads=num_heads,
        num_kv_heads=fields.integer("num_key_value_heads", num_heads),
        head_dim=fields.integer("head_dim", hidden_size // num_heads),
        max_len=max_len,
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        tie_embeddings=fields.flag("tie_word_embeddings"),
        attention_bias=fields.flag("attention_bias"),
        mlp_bias=fields.flag("mlp_bias"),
    )


def _rope(fields: _Fields) -> tuple[float, dict[str, object]]:
    """The base and the scaling, from either spelling: transformers 5 writes `rope_parameters`."""
    joint = fields.raw.get("rope_parameters")
    scaling = fields.raw.get("rope_scaling")
    if joint is not None and not isinstance(joint, dict):
        raise ModelError(f"{fields.path}: rope_parameters must be an object, got {joint!r}")
    if scaling is not None and not isinstance(scaling, dict):
        raise ModelError(f"{fields.path}: rope_scaling must be an object, got {scaling!r}")
    merged = {**(scaling or {}), **(joint or {})}
    theta = merged.pop("rope_theta", None)
    if merged.get("partial_rotary_factor", 1.0) != 1.0:
        raise ModelError(f"{fields.path}: partial rotary embeddings are not supported")
    if theta is not None:
        return _Fields({"rope_theta": theta}, fields.path).number("rope_theta"), merged
    return fields.number("rope_theta", 10000.0), merged
