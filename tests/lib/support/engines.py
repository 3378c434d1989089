"""Engines over toy models, for tests; every one audits its KV books after each step."""

from __future__ import annotations

from typing import Any

from sestina.backend.engine import Engine
from sestina.backend.loading import LoadedModel
from sestina.backend.models.scripted import Script, ScriptedModel
from sestina.backend.models.tiny import tiny_llama
from sestina.backend.tokenizer.byte import ByteTokenizer

SIZES: dict[str, Any] = {"max_total_tokens": 4096, "max_running": 32}


def scripted_engine(
    script: Script | None = None, *, num_merges: int = 60, add_bos: bool = False, **options: Any
) -> Engine:
    """The output depends on every token of the prefix as read back through the page table."""
    tokenizer = ByteTokenizer(num_merges, add_bos=add_bos)
    model = ScriptedModel(script, vocab_size=tokenizer.vocab_size)
    loaded = LoadedModel("scripted", model, tokenizer)
    return Engine(loaded, seed=0, check=True, **{**SIZES, **options})


def tiny_engine(*, num_merges: int = 60, max_len: int = 2048, **options: Any) -> Engine:
    """A random two-layer Llama in float32."""
    tokenizer = ByteTokenizer(num_merges)
    model = tiny_llama(vocab_size=tokenizer.vocab_size, max_len=max_len)
    loaded = LoadedModel("tiny", model, tokenizer)
    return Engine(loaded, seed=0, check=True, **{**SIZES, **options})


def worker_engine(**options: Any) -> Engine:
    """`scripted_engine()`, in a process of its own."""
    return Engine("scripted", process=True, seed=0, check=True, **{**SIZES, **options})
