"""From a checkpoint's tensors, under Hugging Face names, to a Llama."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sestina.backend.batch import ModelConfig
from sestina.backend.models.llama import Llama, LlamaLayer
from sestina.backend.models.packed_llama import (
    PackedLlama,
    decoder,
    expected_arrays,
    from_arrays,
    pack,
    to_arrays,
)
from sestina.backend.models.rope import inverse_frequencies
from sestina.backend.weights.packed_file import PackedFile
from sestina.kernels.decoder import Weights
from sestina.lang.errors import ModelError

IGNORED = re.compile(r"(.*\.)?rotary_emb\.(inv_freq|cos_cached|sin_cached)")
"""Buffers that old checkpoints carry; they are recomputed from the config."""

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
NORM = "model.norm.weight"


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor the checkpoint must hold, with its shape."""
    width, inner = config.hidden_size, config.intermediate_size
    q = config.num_heads * config.head_dim
    kv = config.num_kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (config.vocab_size, width)}
    matrices = {
        "self_attn.q_proj": (q, width, config.attention_bias),
        "self_attn.k_proj": (kv, width, config.attention_bias),
        "self_attn.v_proj": (kv, width, config.attention_bias),
        "self_attn.o_proj": (width, q, config.attention_bias),
        "mlp.gate_proj": (inner, width, config.mlp_bias),
        "mlp.up_proj": (inner, width, config.mlp_bias),
        "mlp.down_proj": (width, inner, config.mlp_bias),
    }
    for n in range(config.num_layers):
        prefix = f"model.layers.{n}"
        shapes[f"{prefix}.input_layernorm.weight"] = (width,)
        shapes[f"{prefix}.post_attention_layernorm.weight"] = (width,)
        for name, (rows, columns, has_bias) in matrices.items():
            shapes[f"{prefix}.{name}.weight"] = (rows, columns)
            if has_bias:
                shapes[f"{prefix}.{name}.bias"] = (rows,)
    shapes[NORM] = (width,)
    if not config.tie_embeddings:
        shapes[HEAD] = (config.vocab_size, width)
    return shapes


def build_llama(
    config: ModelConfig, tensors: Mapping[str, Tensor], dtype: torch.dtype, device: torch.device
) -> Llama:
    """Convert, fuse and place the weights, one tensor at a time.

    ModelError naming every missing or unexpected tensor, the first of a wrong shape, and a kind
    of rope scaling that is not known. Memory: the model, and one layer's fused matrix beside it.
    """
    frequencies = inverse_frequencies(config)
    _check_config(config)
    _check_names(config, tensors)
    reader = _Reader(tensors, expected_shapes(config), dtype, device)
    embedding = reader.matrix(EMBEDDING)
    return Llama(
        config=config,
        dtype=dtype,
        device=device,
        rope_frequencies=frequencies.to(device),
        embedding=embedding,
        layers=tuple(_layers(config, reader)),
        norm=reader.norm(NORM),
        lm_head=embedding if config.tie_embeddings else reader.matrix(HEAD),
    )


def build_packed_llama(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    file: PackedFile | None = None,
) -> PackedLlama:
    """The same for a CPU, in the layouts of its kernels; dtype may be int8 too.

    file: where the packed weights are kept. What is there is taken, with the same bits as without;
    else they are packed and put there.
    """
    frequencies = inverse_frequencies(config)
    _check_config(config)
    expected = expected_arrays(config, dtype)
    arrays = file.read(expected) if file else None
    if arrays is None:
        weights = _packed(config, tensors, dtype, frequencies)
        if file:
            file.write(to_arrays(weights, expected))
    else:
        weights = from_arrays(arrays, frequencies)
    return PackedLlama(config, dtype, decoder(config, weights))


def _packed(
    config: ModelConfig, tensors: Mapping[str, Tensor], dtype: torch.dtype, frequencies: Tensor
) -> Weights:
    _check_names(config, tensors)
    # What is quantised is first read as it is.
    reading = torch.float32 if dtype is torch.int8 else dtype
    reader = _Reader(tensors, expected_shapes(config), reading, torch.device("cpu"))
    return pack(
        config,
        dtype,
        frequencies,
        _layers(config, reader),
        norm=reader.norm(NORM),
        lm_head=reader.matrix(EMBEDDING if config.tie_embeddings else HEAD),
        embedding=None if config.tie_embeddings else reader.matrix(EMBEDDING),
    )


def _check_config(config: ModelConfig) -> None:
    if config.num_heads % config.num_kv_heads:
        raise ModelError(
            f"{config.num_heads} query heads cannot share {config.num_kv_heads} key heads evenly"
        )
    if config.head_dim % 2:
        raise ModelError(f"rotary embeddings need an even head_dim, got {config.head_dim}")


def _check_names(config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
    expected = expected_shapes(config).keys()
    found = {name for name in tensors if not IGNORED.fullmatch(name)}
    if config.tie_embeddings and HEAD in found:
        # Some savers write the tied matrix twice. A different one would be a contradiction.
        if not torch.equal(tensors[HEAD], tensors[EMBEDDING]):
            raise ModelError(f"the config ties {HEAD} to {EMBEDDING}, but the two tensors differ")
        found.discard(HEAD)
    problems = [
        f"{len(names)} {what} ({', '.join(names[:8])}{', ...' if len(names) > 8 else ''})"
        for what, names in (
            ("missing", sorted(expected - found)),
            ("unexpected", sorted(found - expected)),
        )
        if names
    ]
    if problems:
        raise ModelError(f"{config.architecture} checkpoint: tensors {' and '.join(problems)}")


@dataclass(frozen=True, slots=True)
class _Reader:
    tensors: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    dtype: torch.dtype
    device: torch.device

    def matrix(self, *names: str) -> Tensor:
        """The tensors, one under the other, in the model's dtype."""
        return torch.cat([self._read(name, self.dtype) for name in names]).to(self.device)

    def norm(self, name: str) -> Tensor:
        return self._read(name, torch.float32).to(self.device)

    def bias(self, *names: str) -> Tensor | None:
        return self.matrix(*names) if names[0] in self.shapes else None

    def _read(self, name: str, dtype: torch.dtype) -> Tensor:
        tensor = self.tensors[name]
        if tuple(tensor.shape) != self.shapes[name]:
            raise ModelError(
                f"{name} has shape {list(tensor.shape)}, the config says {list(self.shapes[name])}"
            )
        if not tensor.is_floating_point():
            raise ModelError(f"{name} is {tensor.dtype}; quantised checkpoints are not supported")
        # A copy: what was read may be a view of a file that someone overwrites later.
        return tensor.to(dtype, copy=True)


def _layers(config: ModelConfig, reader: _Reader) -> Iterator[LlamaLayer]:
    for n in range(config.num_layers):
        attention, mlp = f"model.layers.{n}.self_attn", f"model.layers.{n}.mlp"
        qkv = [f"{attention}.{part}_proj" for part in "qkv"]
        gate_up = [f"{mlp}.{part}_proj" for part in ("gate", "up")]
        yield LlamaLayer(
            attention_norm=reader.norm(f"model.layers.{n}.input_layernorm.weight"),
            qkv=reader.matrix(*(f"{name}.weight" for name in qkv)),
            qkv_bias=reader.bias(*(f"{name}.bias" for name in qkv)),
            out=reader.matrix(f"{attention}.o_proj.weight"),
            out_bias=reader.bias(f"{attention}.o_proj.bias"),
            mlp_norm=reader.norm(f"model.layers.{n}.post_attention_layernorm.weight"),
            gate_up=reader.matrix(*(f"{name}.weight" for name in gate_up)),
            gate_up_bias=reader.bias(*(f"{name}.bias" for name in gate_up)),
            down=reader.matrix(f"{mlp}.down_proj.weight"),
            down_bias=reader.bias(f"{mlp}.down_proj.bias"),
        )
