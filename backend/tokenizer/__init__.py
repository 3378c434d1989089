"""Tokenizers: text to ids and back, with the bytes of every token known.

`load_tokenizer` reads any format there is; `base.Tokenizer` is what everything else relies on.
"""

from __future__ import annotations

from pathlib import Path

from sestina.backend.tokenizer.base import Tokenizer
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.backend.tokenizer.directory import read_tokenizer_file
from sestina.backend.tokenizer.gguf import read_gguf_tokenizer
from sestina.backend.tokenizer.hf import HFTokenizer
from sestina.backend.tokenizer.template import chat_renderer
from sestina.backend.weights.source import resolve_source
from sestina.lang.errors import ModelError

__all__ = ["ByteTokenizer", "HFTokenizer", "Tokenizer", "chat_renderer", "load_tokenizer"]


def load_tokenizer(source: str | Path) -> Tokenizer:
    """The tokenizer of a model: "byte", or whatever `resolve_source` takes.

    That is a directory with a tokenizer.json, a tokenizer.json, a .gguf file, a built-in alias or
    a hub name (fetched when not cached). ModelError if there is none or it cannot be used exactly.
    Costs about 0.3 s for a vocabulary of 49k tokens, 1.5 s for 151k.
    """
    if source == "byte":
        return ByteTokenizer()
    path = resolve_source(source)
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"{path.parent} has no tokenizer.json (other formats are not read)")
    spec = read_gguf_tokenizer(path) if path.suffix == ".gguf" else read_tokenizer_file(path)
    try:
        return HFTokenizer(spec)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
