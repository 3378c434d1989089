"""A tokenizer as files that every engine's environment can read, for mask.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sestina.backend.tokenizer import Tokenizer, load_tokenizer
from sestina.backend.tokenizer.gguf import read_gguf_tokenizer
from sestina.backend.weights.source import resolve_source


@dataclass(frozen=True)
class Exported:
    """A tokenizer, and the file that `mask_walk.Vocabulary` reads."""

    name: str
    tokenizer: Tokenizer
    file: Path


def export(source: str, folder: Path) -> Exported:
    """Write a tokenizer's bytes and its tokenizer.json into `folder`."""
    tokenizer = load_tokenizer(source)
    names = {i: name for name, i in tokenizer.control_ids.items()}
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {
        "source": source,
        "tokens": [tokenizer.token_bytes(i).hex() for i in range(tokenizer.vocab_size)],
        "eos_ids": list(tokenizer.eos_ids),
        "eos_token": names[tokenizer.eos_ids[0]],
        "tokenizer_file": str(_tokenizer_file(source, folder)),
    }
    file = folder / "vocabulary.json"
    file.write_text(json.dumps(vocabulary), encoding="utf-8")
    return Exported(source, tokenizer, file)


def _tokenizer_file(source: str, folder: Path) -> Path:
    """The tokenizer.json there is, or one made from a GGUF file."""
    path = resolve_source(source)
    if path.suffix != ".gguf":
        return (path / "tokenizer.json" if path.is_dir() else path).resolve()
    data: dict[str, Any] = read_gguf_tokenizer(path).data
    if not data["model"].get("byte_fallback"):
        # Ours needs no decoder; others tell a byte-level vocabulary by it.
        data["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return file.resolve()
