"""Sestina for mask.py. Options: property_order, cold, freeze."""

from __future__ import annotations

import gc
import inspect
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from mask_walk import Engine, Vocabulary, Walk, serve

from sestina import json_schema
from sestina.backend.grammar import CompiledGrammar, GrammarCompiler
from sestina.backend.tokenizer import load_tokenizer

WARM_UP = {"properties": {"a": {"type": "string", "pattern": "^[a-z]{2,50}$"}}}


class Sestina(Engine):
    """One GrammarCompiler for the run, as in an engine: what schemas share warms up on the way.

    cold: another one for each schema, made outside the times, with nothing worked out before.
    freeze: the garbage collector leaves out what was loaded before the first schema.
    """

    def __init__(self, vocabulary: Vocabulary, options: dict[str, Any]) -> None:
        self.version = version("sestina")
        self.tokenizer = load_tokenizer(vocabulary.source)
        self.cold = bool(options.pop("cold", False))
        freeze = bool(options.pop("freeze", False))
        self.options = {k: v for k, v in options.items() if k in _PARAMETERS}
        if unknown := options.keys() - self.options.keys():
            raise ValueError(f"json_schema has no parameter {sorted(unknown)}")
        self.row = np.zeros(-(-self.tokenizer.vocab_size // 32), np.int32)
        self.compiler = self._fresh()
        self._compile_kernels()
        if freeze:
            gc.collect()
            gc.freeze()
        told = [f"{k}={v!r}" for k, v in self.options.items()]
        told += ["a cold compiler per schema" if self.cold else "one compiler for the run"]
        told += ["gc.freeze() after loading"] if freeze else ["garbage collector as Python has it"]
        self.settings = ", ".join(told)

    def prepare(self) -> None:
        if self.cold:
            self.compiler = self._fresh()

    def compile(self, schema: Any) -> CompiledGrammar:
        return self.compiler.compile(json_schema(schema, **self.options))

    def start(self, compiled: CompiledGrammar) -> Walk:
        matcher = compiled.matcher()
        return Walk(partial(matcher.fill_mask, self.row), matcher.accept_token)

    def _fresh(self) -> GrammarCompiler:
        return GrammarCompiler(self.tokenizer, max_grammars=1)

    def _compile_kernels(self) -> None:
        """Compiled or loaded from numba's cache once per process; with another compiler."""
        matcher = self._fresh().compile(json_schema(WARM_UP, **self.options)).matcher()
        for token_id in self.tokenizer.encode('{"a": "xyz", "b": [1, "\\n"]}'):
            matcher.fill_mask(self.row)
            matcher.accept_token(token_id)


_PARAMETERS = inspect.signature(json_schema).parameters

if __name__ == "__main__":
    serve(Sestina)
