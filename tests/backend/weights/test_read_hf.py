"""Reading a Hugging Face directory: what is understood, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sestina.backend.weights.config import read_hf_config
from sestina.backend.weights.read import read_checkpoint
from sestina.lang.errors import ModelError

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 30,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
A, B = torch.arange(6.0).view(2, 3), torch.ones(4, dtype=torch.bfloat16)


def write(directory: Path, name: str = "config.json", **data: Any) -> Path:
    (directory / name).write_text(json.dumps(data))
    return directory


def refused(directory: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_checkpoint(directory)


def test_defaults_are_those_of_transformers(tmp_path: Path) -> None:
    config = read_hf_config(write(tmp_path, **CONFIG)).model
    assert (config.num_kv_heads, config.head_dim, config.rope_theta) == (4, 4, 10000.0)
    assert (config.rms_norm_eps, config.rope_scaling) == (1e-6, {})
    assert (config.tie_embeddings, config.attention_bias, config.mlp_bias) == (False,) * 3


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}},
    ],
)
def test_both_spellings_of_rope(tmp_path: Path, rope: dict[str, Any]) -> None:
    config = read_hf_config(write(tmp_path, **CONFIG, **rope)).model
    assert config.rope_theta == 5e5
    assert config.rope_scaling == {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize(
    ("eos", "generation", "want"),
    [
        (2, None, (2,)),
        ([2, 5], None, (2, 5)),
        (2, {"eos_token_id": [2, 9]}, (2, 9)),
        (2, {"temperature": 0.6}, (2,)),
        (None, None, ()),
    ],
)
def test_eos_ids(
    tmp_path: Path, eos: Any, generation: dict[str, Any] | None, want: tuple[int, ...]
) -> None:
    write(tmp_path, **CONFIG, eos_token_id=eos)
    if generation is not None:
        write(tmp_path, "generation_config.json", **generation)
    assert read_hf_config(tmp_path).eos_ids == want


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial rotary"),
        ({"rope_scaling": "linear"}, "rope_scaling must be an object"),
        ({"sliding_window": 64}, "sliding_window = 64 is below max_position_embeddings = 128"),
        ({"sliding_window": "64"}, "sliding_window"),
        ({"architectures": []}, "architectures must name one class"),
        ({"vocab_size": None}, "vocab_size must be a positive number, got None"),
        ({"vocab_size": 3.5}, "vocab_size must be an integer"),
        ({"num_attention_heads": 0}, "num_attention_heads must be a positive number, got 0"),
        ({"eos_token_id": "</s>"}, "eos_token_id"),
    ],
)
def test_what_changes_the_model_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    save_file({"a": A}, tmp_path / "model.safetensors")
    refused(write(tmp_path, **{**CONFIG, **change}), message)


def test_a_window_as_long_as_the_model_is_no_window(tmp_path: Path) -> None:
    assert read_hf_config(write(tmp_path, **CONFIG, sliding_window=128)).model.max_len == 128


def test_one_file(tmp_path: Path) -> None:
    save_file({"a": A, "b": B}, tmp_path / "model.safetensors")
    checkpoint = read_checkpoint(write(tmp_path, **CONFIG, torch_dtype="bfloat16", bos_token_id=1))
    assert sorted(checkpoint.tensors) == ["a", "b"]
    assert torch.equal(checkpoint.tensors["a"], A)
    assert (checkpoint.dtype, checkpoint.bos_id) == (torch.bfloat16, 1)


def sharded(directory: Path, weight_map: dict[str, str]) -> Path:
    save_file({"a": A}, directory / "one.safetensors")
    save_file({"b": B}, directory / "two.safetensors")
    write(directory, "model.safetensors.index.json", weight_map=weight_map)
    return write(directory, **CONFIG)


def test_shards(tmp_path: Path) -> None:
    tensors = read_checkpoint(
        sharded(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    ).tensors
    assert torch.equal(tensors["a"], A)
    assert torch.equal(tensors["b"], B)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "three.safetensors"}, "lacks 1 of its shards: three.safetensors"),
        ({"a": "two.safetensors"}, "puts a into two.safetensors, which lacks it"),
        ({"a": "../one.safetensors"}, "names a file outside its directory"),
        ({}, "has no weight_map"),
    ],
)
def test_bad_shards(tmp_path: Path, weight_map: dict[str, str], message: str) -> None:
    refused(sharded(tmp_path, weight_map), message)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    refused(write(tmp_path, **CONFIG), "has neither model.safetensors nor")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    refused(tmp_path, "is a pickle, which can run any code")


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "does not exist")
    refused(tmp_path, r"config\.json does not exist")
    write(tmp_path, **CONFIG)
    (tmp_path / "model.safetensors").write_bytes(b"not a safetensors file")
    refused(tmp_path, r"model\.safetensors cannot be read")
    (tmp_path / "config.json").write_text("{")
    refused(tmp_path, "cannot be read as JSON")
    (tmp_path / "config.json").write_text("[]")
    refused(tmp_path, "is not a JSON object")
    (tmp_path / "x.txt").write_text("")
    refused(tmp_path / "x.txt", "neither a model directory nor a .gguf file")
