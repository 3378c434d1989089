"""A Hugging Face directory: config.json beside model.safetensors, whole or in shards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sestina.backend.weights.checkpoint import Checkpoint, LazyTensors
from sestina.backend.weights.config import read_hf_config, read_json
from sestina.lang.errors import ModelError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


def read_hf_directory(directory: Path) -> Checkpoint:
    """ModelError if a file is missing or malformed, or if there is no safetensors file at all."""
    said = read_hf_config(directory)
    if (directory / INDEX).is_file():
        readers = _sharded(directory)
    elif (directory / SINGLE).is_file():
        readers = _readers(directory / SINGLE)
    else:
        raise ModelError(_no_weights(directory))
    tensors = LazyTensors(readers)
    return Checkpoint(directory, said.model, tensors, said.eos_ids, said.bos_id, said.dtype)


def _no_weights(directory: Path) -> str:
    message = f"{directory} has neither {SINGLE} nor {INDEX}"
    if any(directory.glob("pytorch_model*.bin")):
        message += (
            "; its pytorch_model.bin is a pickle, which can run any code when opened, so it is "
            "never read: convert it with transformers' save_pretrained(safe_serialization=True)"
        )
    return message


def _sharded(directory: Path) -> dict[str, Callable[[], Tensor]]:
    weight_map = read_json(directory / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{directory / INDEX} has no weight_map")
    shards = sorted({str(file) for file in weight_map.values()})
    for shard in shards:
        if Path(shard).name != shard:
            raise ModelError(f"{directory / INDEX} names a file outside its directory: {shard!r}")
    missing = [shard for shard in shards if not (directory / shard).is_file()]
    if missing:
        raise ModelError(f"{directory} lacks {len(missing)} of its shards: {', '.join(missing)}")
    held = {shard: _readers(directory / shard) for shard in shards}
    readers = {}
    for name, shard in weight_map.items():
        if name not in held[shard]:
            raise ModelError(f"{directory / INDEX} puts {name} into {shard}, which lacks it")
        readers[name] = held[shard][name]
    return readers


def _readers(file: Path) -> dict[str, Callable[[], Tensor]]:
    try:
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    return {name: partial(_read, file, name) for name in names}


def _read(file: Path, name: str) -> Tensor:
    try:
        # Opened anew for each tensor (30 us): no file stays open, and none needs closing.
        with safe_open(file, framework="pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
            return tensor
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: {name} cannot be read: {error}") from error
