"""xgrammar for mask.py. Options: those of compile_json_schema (strict_mode, any_order, ...)."""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from mask_walk import Engine, Vocabulary, Walk, serve
from xgrammar import CompiledGrammar, GrammarCompiler, GrammarMatcher, TokenizerInfo, VocabType


class XGrammar(Engine):
    """One GrammarCompiler for the run, with one thread and its caches on."""

    def __init__(self, vocabulary: Vocabulary, options: dict[str, Any]) -> None:
        self.version = version("xgrammar")
        info = TokenizerInfo(vocabulary.tokens, VocabType.RAW, stop_token_ids=vocabulary.eos_ids)
        self.compiler = GrammarCompiler(info, max_threads=1)
        self.options = options
        self.bitmask = np.zeros((1, -(-len(vocabulary.tokens) // 32)), np.int32)
        self.row = self.bitmask[0]
        told = [f"{k}={v!r}" for k, v in options.items()]
        self.settings = ", ".join(told) or "defaults: strict_mode, any whitespace"

    def compile(self, schema: Any) -> CompiledGrammar:
        return self.compiler.compile_json_schema(json.dumps(schema), **self.options)

    def start(self, compiled: CompiledGrammar) -> Walk:
        matcher = GrammarMatcher(compiled)
        return Walk(partial(matcher.fill_next_token_bitmask, self.bitmask), matcher.accept_token)


if __name__ == "__main__":
    serve(XGrammar)
