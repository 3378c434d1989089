"""From a model's name to something that runs: checkpoint, architecture and tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from sestina.backend.batch import Model, ModelConfig
from sestina.backend.models.registry import build_model
from sestina.backend.models.scripted import ScriptedModel
from sestina.backend.models.tiny import random_tensors, tiny_config
from sestina.backend.tokenizer import load_tokenizer
from sestina.backend.tokenizer.base import Tokenizer
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.backend.weights.packed_file import PackedFile
from sestina.backend.weights.read import read_checkpoint
from sestina.backend.weights.source import resolve_source
from sestina.lang.errors import ModelError

TINY = "tiny-random"
SCRIPTED = "scripted"
SCRIPTED_MERGES = 60


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and the tokenizer that goes with it."""

    name: str
    model: Model
    tokenizer: Tokenizer


def load_model(source: str | Path, *, dtype: torch.dtype, device: torch.device) -> LoadedModel:
    """Load from a Hugging Face directory, hub name, `.gguf` file or alias; downloads if it must.

    Toys with a byte tokenizer, for tests: "tiny-random" is a seeded Llama of two layers, "scripted"
    hashes the prefix and finds out whether its KV pages are right. ModelError says what
    is missing or unsupported. Takes the weights in `dtype` once, plus one tensor while reading;
    on a CPU they are a file's pages after the first time (`sestina.backend.weights.packed_file`).
    """
    if source == TINY:
        tokenizer = ByteTokenizer()
        config = tiny_config(vocab_size=tokenizer.vocab_size)
        tiny = build_model(config, random_tensors(config, seed=0), dtype=dtype, device=device)
        return LoadedModel(TINY, tiny, tokenizer)
    if source == SCRIPTED:
        tokenizer = ByteTokenizer(SCRIPTED_MERGES)
        return LoadedModel(SCRIPTED, ScriptedModel(vocab_size=tokenizer.vocab_size), tokenizer)
    path = resolve_source(source)
    loaded = load_tokenizer(path)
    checkpoint = read_checkpoint(path)
    if loaded.vocab_size > checkpoint.config.vocab_size:
        raise ModelError(
            f"{source}: the tokenizer has {loaded.vocab_size} ids, "
            f"the model only {checkpoint.config.vocab_size} logits"
        )
    config = checkpoint.config
    file = _packed_file(path, config, dtype) if device.type == "cpu" else None
    model = build_model(config, checkpoint.tensors, dtype=dtype, device=device, file=file)
    return LoadedModel(str(source), model, loaded)


def _packed_file(path: Path, config: ModelConfig, dtype: torch.dtype) -> PackedFile | None:
    try:
        return PackedFile.of(path, config, dtype)
    except (OSError, RuntimeError):  # what is wrong with the checkpoint, its reader says
        return None
