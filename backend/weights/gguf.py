"""A GGUF file: llama.cpp's format, one file with metadata and quantised tensors.

Quantised tensors are dequantised one by one to float32. GGUF stores the query and key rows of
Llama models interleaved for its own rotary layout (`permute` in llama.cpp's convert_hf_to_gguf.py);
that is undone here. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sestina.backend.batch import ModelConfig
from sestina.backend.weights.checkpoint import Checkpoint, LazyTensors
from sestina.backend.weights.gguf_file import TensorInfo, read_header
from sestina.lang.errors import ModelError

TOP_NAMES: Mapping[str, str] = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
LAYER_NAMES: Mapping[str, str] = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
ROPE_FACTORS = "rope_freqs.weight"

KNOWN_KEYS = frozenset(
    {
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "vocab_size",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.layer_norm_rms_epsilon",
        "attention.key_length",
        "attention.value_length",
        "attention.sliding_window",
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
        "expert_count",
        "expert_used_count",
    }
)
"""Metadata of the architecture that is honoured or harmless; any other key is refused."""


def read_gguf(path: Path) -> Checkpoint:
    """ModelError for another architecture than llama, a split or damaged file, unknown metadata."""
    header = read_header(path)
    file = _File(path, _gguf_package(), header.metadata, header.tensors)
    file.check_extent()
    config = _config(file)
    eos, eot, bos = (
        file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "bos")
    )
    return Checkpoint(
        path=path,
        config=config,
        tensors=LazyTensors(dict(_readers(file, config))),
        eos_ids=tuple(dict.fromkeys(i for i in (eos, eot) if isinstance(i, int))),
        bos_id=bos if isinstance(bos, int) else None,
        dtype=torch.float32,
    )


def _gguf_package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ModelError(
            "reading .gguf files needs the gguf package: pip install sestina[gguf]"
        ) from error
    return gguf


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    gguf: Any
    metadata: Mapping[str, Any]
    stored: Mapping[str, TensorInfo]

    def number(self, key: str, default: float | None = None) -> float:
        value = self.metadata.get(f"llama.{key}", default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ModelError(f"{self.path}: llama.{key} must be a positive number, got {value!r}")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        return int(self.number(key, default))

    def tensor(self, name: str) -> Tensor:
        """Dequantised, float32, in torch's order of axes."""
        held = self.stored[name]
        kind, shape = self._layout(held)
        data = np.memmap(self.path, np.uint8, "r", offset=held.start, shape=shape)
        try:
            values = self.gguf.quants.dequantize(data, kind)
        except NotImplementedError as error:
            raise ModelError(f"{self.path}: tensor {name} is {kind.name}: {error}") from error
        return torch.from_numpy(np.array(values, dtype=np.float32, copy=True))

    def check_extent(self) -> None:
        """ModelError unless the file holds all of every tensor."""
        size = self.path.stat().st_size
        for held in self.stored.values():
            _, shape = self._layout(held)
            if held.start + math.prod(shape) > size:
                raise ModelError(f"{self.path} is cut short: tensor {held.name} ends beyond it")

    def _layout(self, held: TensorInfo) -> tuple[Any, tuple[int, ...]]:
        """The data type of a stored tensor, and its shape in bytes."""
        try:
            kind = self.gguf.GGMLQuantizationType(held.kind)
            return kind, self.gguf.quant_shape_to_byte_shape(held.shape, kind)
        except ValueError as error:
            raise ModelError(f"{self.path}: tensor {held.name}: {error}") from error


def _config(file: _File) -> ModelConfig:
    _refuse_unsupported(file)
    width, num_heads = file.integer("embedding_length"), file.integer("attention.head_count")
    head_dim = file.integer("attention.key_length", width // num_heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if file.integer(key, head_dim) != head_dim:
            raise ModelError(f"{file.path}: llama.{key} other than {head_dim} is not supported")
    max_len = file.integer("context_length")
    if file.integer("attention.sliding_window", max_len) < max_len:
        raise ModelError(f"{file.path}: llama.attention.sliding_window is not supported")
    if "token_embd.weight" not in file.stored:
        raise ModelError(f"{file.path} has no tensor token_embd.weight")
    return ModelConfig(
        architecture="LlamaForCausalLM",
        vocab_size=int(file.stored["token_embd.weight"].shape[0]),
        hidden_size=width,
        intermediate_size=file.integer("feed_forward_length"),
        num_layers=file.integer("block_count"),
        num_heads=num_heads,
        num_kv_heads=file.integer("attention.head_count_kv", num_heads),
        head_dim=head_dim,
        max_len=max_len,
        rms_norm_eps=file.number("attention.layer_norm_rms_epsilon"),
        rope_theta=file.number("rope.freq_base", 10000.0),
        rope_scaling=_rope_scaling(file),
        tie_embeddings="output.weight" not in file.stored,
        attention_bias="blk.0.attn_q.bias" in file.stored,
        mlp_bias="blk.0.ffn_gate.bias" in file.stored,
    )


def _refuse_unsupported(file: _File) -> None:
    architecture = file.metadata.get("general.architecture")
    if architecture != "llama":
        raise ModelError(f"{file.path}: GGUF architecture {architecture!r} is not supported: llama")
    if file.metadata.get("split.count", 1) > 1:
        raise ModelError(f"{file.path} is one of several parts; merge them with gguf-split first")
    for key, value in file.metadata.items():
        if key.startswith("llama.") and key[len("llama.") :] not in KNOWN_KEYS:
            raise ModelError(f"{file.path}: {key} = {value!r} is not supported")
    if file.metadata.get("llama.expert_count", 0):
        raise ModelError(f"{file.path}: mixture-of-experts models are not supported")


def _rope_scaling(file: _File) -> dict[str, object]:
    kind = file.metadata.get("llama.rope.scaling.type", "none")
    if ROPE_FACTORS in file.stored:
        if kind != "none":
            raise ModelError(f"{file.path} has both {ROPE_FACTORS} and rope scaling {kind!r}")
        factors = file.tensor(ROPE_FACTORS).tolist()
        return {"rope_type": "frequency_factors", "factors": factors}
    if "llama.rope.scale_linear" in file.metadata:
        return {"rope_type": "linear", "factor": file.number("rope.scale_linear")}
    if kind == "none":
        return {}
    return {"rope_type": kind, "factor": file.number("rope.scaling.factor")}


def _readers(file: _File, config: ModelConfig) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    for name in file.stored:
        if name == ROPE_FACTORS:
            continue
        hf_name = _hf_name(name)
        if re.fullmatch(r"blk\.\d+\.attn_[qk]\.\w+", name):
            heads = config.num_heads if ".attn_q." in name else config.num_kv_heads
            yield hf_name, partial(_unpermuted, file, name, heads)
        else:
            yield hf_name, partial(file.tensor, name)


def _hf_name(name: str) -> str:
    """The Hugging Face name; one that is not known stays, for the model's builder to refuse.

    >>> _hf_name("blk.7.ffn_up.weight"), _hf_name("output.weight")
    ('model.layers.7.mlp.up_proj.weight', 'lm_head.weight')
    """
    stem, _, kind = name.rpartition(".")
    if stem in TOP_NAMES:
        return f"{TOP_NAMES[stem]}.{kind}"
    match = LAYER_TENSOR.fullmatch(name)
    if match is None or match[2] not in LAYER_NAMES:
        return name
    return f"model.layers.{match[1]}.{LAYER_NAMES[match[2]]}.{match[3]}"


def _unpermuted(file: _File, name: str, num_heads: int) -> Tensor:
    """Rows of each head from pairs (0, D/2, 1, D/2 + 1, ...) back to halves (0, 1, ...)."""
    stored = file.tensor(name)  # [N * D, ...]
    if stored.shape[0] % (2 * num_heads):
        raise ModelError(f"{file.path}: {name} has {stored.shape[0]} rows for {num_heads} heads")
    pairs = stored.view(num_heads, -1, 2, *stored.shape[1:])  # [N, D / 2, 2, ...]
    return pairs.transpose(1, 2).reshape(stored.shape)
