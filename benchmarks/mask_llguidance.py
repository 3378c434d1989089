"""llguidance for mask.py. Options: its JsonCompileOptions, and `slices` ("json" or "general")."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any

import llguidance.hf
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from mask_walk import Engine, Vocabulary, Walk, serve
from transformers import PreTrainedTokenizerFast


class LLGuidance(Engine):
    """The masks are written through the pointer, as its own numpy and torch helpers do."""

    def __init__(self, vocabulary: Vocabulary, options: dict[str, Any]) -> None:
        self.version = version("llguidance")
        slices = options.pop("slices", None)
        self.tokenizer = llguidance.hf.from_tokenizer(
            PreTrainedTokenizerFast(
                tokenizer_file=vocabulary.tokenizer_file, eos_token=vocabulary.eos_token
            ),
            n_vocab=len(vocabulary.tokens),
            eos_token=vocabulary.eos_ids,
            slices=_SLICES[slices]() if slices else None,
        )
        _check_vocabulary(self.tokenizer, vocabulary)
        self.options = options
        self.row = np.zeros(-(-len(vocabulary.tokens) // 32), np.int32)
        told = [f"{k}={v!r}" for k, v in options.items()] or ["defaults: any whitespace"]
        self.settings = ", ".join([*told, f"slices {slices}"] if slices else told)

    def compile(self, schema: Any) -> LLMatcher:
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides=self.options)
        matcher = LLMatcher(self.tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def start(self, compiled: LLMatcher) -> Walk:
        compiled.reset()
        address, size = self.row.ctypes.data, self.row.nbytes
        return Walk(
            partial(compiled.unsafe_compute_mask_ptr, address, size), compiled.consume_token
        )


_SLICES = {"json": LLTokenizer.json_slices, "general": LLTokenizer.general_slices}


def _check_vocabulary(tokenizer: LLTokenizer, vocabulary: Vocabulary) -> None:
    """Both sides must mean the same bytes by the same id.

    The byte 0xFF, which no text holds, is llguidance's own mark of control tokens.
    """
    for token_id, data in enumerate(vocabulary.tokens):
        if data.strip(b"\xff") and tokenizer.decode_bytes([token_id]) != data:
            raise ValueError(f"token {token_id} is {data!r} here but not in llguidance")


if __name__ == "__main__":
    serve(LLGuidance)
