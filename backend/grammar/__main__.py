"""Compile the grammar engine's core for this machine: `python -m sestina.backend.grammar`.

About 80 s; otherwise the first grammar takes them. Numba is several times slower where Python is
traced, so tests that measure coverage run this first.
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.compiler import GrammarCompiler
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.lang.constraint import Constraint, grammar, json_schema, regex

_EXAMPLES: tuple[tuple[Constraint, str], ...] = (
    (json_schema({"properties": {"a": {"type": "string", "maxLength": 40}}}), '{"a": "x", "b": 1}'),
    (json_schema({"properties": {"a": {}, "b": {}}}, property_order="any"), '{"b": 1, "a": 2}'),
    (regex("(?=.*[0-9])[a-z0-9]{2,60}"), "ab1"),
    (grammar('start: "(" start ")" | "x"') & regex(".{1,9}"), "((x))"),
)


def compile_core() -> None:
    """Make every compiled function be compiled, or loaded from where it is kept."""
    compiler = GrammarCompiler(ByteTokenizer())
    for constraint, text in _EXAMPLES:
        compiled = compiler.compile(constraint)
        matcher = compiled.matcher()
        row = np.zeros(compiled.trie.num_words, np.int32)
        for token_id in compiler.tokenizer.encode(text):
            matcher.fill_mask(row)
            matcher.fill_mask(row, max_tokens=100)
            matcher.forced_tokens()
            matcher.is_complete()
            matcher.accept_token(token_id)


if __name__ == "__main__":
    compile_core()
