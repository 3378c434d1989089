"""Reading GGUF: a file written as llama.cpp's converter does gives the Hugging Face model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sestina.backend.batch import ModelConfig
from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.registry import build_model
from sestina.backend.models.tiny import random_tensors, tiny_config
from sestina.backend.weights.gguf import LAYER_NAMES, TOP_NAMES
from sestina.backend.weights.read import read_checkpoint
from sestina.lang.errors import ModelError

gguf = pytest.importorskip("gguf", reason="the gguf extra is not installed")

CPU = torch.device("cpu")
CONFIG = tiny_config(vocab_size=64)


def permute(weights: torch.Tensor, num_heads: int) -> torch.Tensor:
    """llama.cpp's, from convert_hf_to_gguf.py."""
    halves = weights.reshape(num_heads, 2, weights.shape[0] // num_heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(weights.shape)


def gguf_name(name: str) -> str:
    top = {hf: short for short, hf in TOP_NAMES.items()}
    layer = {hf: short for short, hf in LAYER_NAMES.items()}
    stem, _, kind = name.rpartition(".")
    if stem in top:
        return f"{top[stem]}.{kind}"
    _, _, n, inner = stem.split(".", 3)
    return f"blk.{n}.{layer[inner]}.{kind}"


def write_gguf(
    path: Path,
    config: ModelConfig = CONFIG,
    kind: str = "F32",
    architecture: str = "llama",
    extra: dict[str, Any] | None = None,
    factors: list[float] | None = None,
) -> dict[str, torch.Tensor]:
    """Returns the tensors as they are after quantisation, under Hugging Face names."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_layers)
    writer.add_context_length(config.max_len)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_eos_token_id(7)
    for key, value in (extra or {}).items():
        {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)](
            key, value
        )
    quantised = {}
    for name, tensor in random_tensors(config, 3).items():
        heads = {"q_proj": config.num_heads, "k_proj": config.num_kv_heads}.get(name.split(".")[-2])
        stored = tensor if heads is None else permute(tensor, heads)
        wanted = gguf.GGMLQuantizationType[kind if tensor.dim() == 2 else "F32"]
        data = gguf.quants.quantize(stored.numpy(), wanted)
        writer.add_tensor(gguf_name(name), data, raw_dtype=wanted)
        values = torch.from_numpy(np.array(gguf.quants.dequantize(data, wanted)))
        if heads is not None:
            # The inverse written out for every row, not with the function under test.
            half = config.head_dim // 2
            rows = [
                head * 2 * half + 2 * (d % half) + d // half
                for head in range(heads)
                for d in range(2 * half)
            ]
            values = values[rows]
        quantised[name] = values
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return quantised


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_1"])
def test_tensors_and_logits(tmp_path: Path, kind: str) -> None:
    want = write_gguf(tmp_path / "m.gguf", kind=kind)
    checkpoint = read_checkpoint(tmp_path / "m.gguf")
    assert checkpoint.config.num_kv_heads == CONFIG.num_kv_heads
    assert checkpoint.eos_ids == (7,)
    assert sorted(checkpoint.tensors) == sorted(want)
    for name, tensor in want.items():
        assert torch.equal(checkpoint.tensors[name], tensor), name
    ours = build_model(checkpoint.config, checkpoint.tensors, torch.float32, CPU)
    theirs = build_model(CONFIG, want, torch.float32, CPU)
    tokens = [1, 5, 9, 2, 60]
    torch.testing.assert_close(sequence_logits(ours, tokens), sequence_logits(theirs, tokens))


def test_rope_factors_and_scaling(tmp_path: Path) -> None:
    factors = [1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0]
    write_gguf(tmp_path / "f.gguf", factors=factors)
    scaling = read_checkpoint(tmp_path / "f.gguf").config.rope_scaling
    assert scaling == {"rope_type": "frequency_factors", "factors": factors}
    linear: dict[str, Any] = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    write_gguf(tmp_path / "l.gguf", extra=linear)
    scaling = read_checkpoint(tmp_path / "l.gguf").config.rope_scaling
    assert scaling == {"rope_type": "linear", "factor": 4.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "qwen2"}, "architecture 'qwen2' is not supported"),
        ({"extra": {"llama.expert_count": 8}}, "mixture-of-experts"),
        ({"extra": {"llama.attention.scale": 0.5}}, "llama.attention.scale = 0.5 is not supported"),
        ({"extra": {"llama.rope.dimension_count": 8}}, "rope.dimension_count other than 16"),
        ({"extra": {"llama.attention.sliding_window": 64}}, "sliding_window is not supported"),
        ({"extra": {"split.count": 2}}, "one of several parts"),
        (
            {"factors": [1.0] * 8, "extra": {"llama.rope.scaling.type": "yarn"}},
            "both rope_freqs.weight and rope scaling 'yarn'",
        ),
    ],
)
def test_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write_gguf(tmp_path / "m.gguf", **options)
    with pytest.raises(ModelError, match=message):
        read_checkpoint(tmp_path / "m.gguf")


def test_unknown_tensors_keep_their_names_and_are_refused_by_the_builder(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", config=tiny_config(vocab_size=64, num_layers=3))
    checkpoint = read_checkpoint(tmp_path / "m.gguf")
    with pytest.raises(ModelError, match=r"unexpected \(model\.layers\.2"):
        build_model(CONFIG, checkpoint.tensors, torch.float32, CPU)


@pytest.mark.parametrize("keep", [0, 3, 20, 200, 3000, -100])
def test_a_damaged_file(tmp_path: Path, keep: int) -> None:
    write_gguf(tmp_path / "m.gguf")
    data = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[:keep])
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        read_checkpoint(tmp_path / "cut.gguf")


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "m.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"pip install sestina\[gguf\]"):
        read_checkpoint(tmp_path / "m.gguf")
