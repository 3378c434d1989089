"""One way in for every kind of checkpoint."""

from __future__ import annotations

from pathlib import Path

from sestina.backend.weights.checkpoint import Checkpoint
from sestina.backend.weights.gguf import read_gguf
from sestina.backend.weights.safetensors import read_hf_directory
from sestina.lang.errors import ModelError


def read_checkpoint(path: str | Path) -> Checkpoint:
    """A Hugging Face directory (config.json, safetensors) or a `.gguf` file.

    Reads the metadata; tensors are read as they are asked for. ModelError naming the file and
    what is wrong with it.
    """
    path = Path(path)
    if path.is_dir():
        return read_hf_directory(path)
    if path.is_file() and path.suffix == ".gguf":
        return read_gguf(path)
    if path.is_file():
        raise ModelError(f"{path} is neither a model directory nor a .gguf file")
    raise ModelError(f"{path} does not exist")
