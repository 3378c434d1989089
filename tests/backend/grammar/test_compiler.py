"""Compiling constraints: caching, sharing between threads, errors."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sestina.backend.grammar import GrammarCompiler, Limits, compile_constraint, compile_grammar
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import Regex
from sestina.lang.errors import InvalidParams, UnsatisfiableConstraint


@dataclass(frozen=True)
class Exactly:
    """A constraint that counts how often it was lowered, and can wait while it is."""

    text: str
    lowered: list[int] = field(default_factory=list, compare=False)
    gate: threading.Event | None = field(default=None, compare=False)

    def to_grammar(self) -> ir.Grammar:
        self.lowered.append(1)
        if self.gate is not None:
            assert self.gate.wait(10)
        return ir.Grammar(ir.literal(self.text) if self.text else ir.NOTHING)


def test_same_constraint_is_compiled_once(tokenizer: Any) -> None:
    compiler = GrammarCompiler(tokenizer)
    first, again = cast(Any, Exactly("ab")), cast(Any, Exactly("ab"))
    assert compiler.compile(first) is compile_constraint(again, compiler)
    assert (len(first.lowered), len(again.lowered)) == (1, 0)
    assert compiler.compile(cast(Any, Exactly("b"))) is not compiler.compile(first)


def test_threads_share_one_compilation(tokenizer: Any) -> None:
    compiler = GrammarCompiler(tokenizer)
    constraint = cast(Any, Exactly("ab", gate=threading.Event()))
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(compiler.compile(constraint)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    constraint.gate.set()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert len(found) == 4
    assert len(constraint.lowered) == 1


def test_errors_are_not_kept(tokenizer: Any) -> None:
    compiler = GrammarCompiler(tokenizer)
    nothing = cast(Any, Exactly(""))
    for tries in (1, 2):
        with pytest.raises(UnsatisfiableConstraint):
            compiler.compile(nothing)
        assert len(nothing.lowered) == tries


def test_least_recently_used_goes_first(tokenizer: Any) -> None:
    compiler = GrammarCompiler(tokenizer, max_grammars=2)
    a, b, c = (cast(Any, Exactly(text)) for text in "abc")
    for constraint in (a, b, a, c, a, b):
        compiler.compile(constraint)
    assert [len(each.lowered) for each in (a, b, c)] == [1, 2, 1]


def test_compile_constraint_with_a_tokenizer(tokenizer: Any) -> None:
    grammar = compile_constraint(cast(Any, Exactly("ab")), tokenizer, limits=Limits(max_states=50))
    assert grammar.automaton.limits.max_states == 50
    with pytest.raises(ValueError, match="own"):
        compile_constraint(cast(Any, Exactly("a")), GrammarCompiler(tokenizer), limits=Limits())


def test_trie_of_another_tokenizer_is_refused(tokenizer: Any, make_tokenizer: Any) -> None:
    compiler = GrammarCompiler(make_tokenizer(merges=(b"xy",)))
    with pytest.raises(ValueError, match="another tokenizer"):
        compile_grammar(ir.Grammar(ir.EPSILON), tokenizer, trie=compiler.trie)


def test_limits_are_positive() -> None:
    with pytest.raises(InvalidParams, match="max_states"):
        Limits(max_states=0)


def test_a_real_constraint(tokenizer: Any) -> None:
    matcher = compile_constraint(Regex(r"\d{4}-\d{2}"), tokenizer).matcher()
    assert all(map(matcher.accept_token, tokenizer.encode("2024-07")))
    assert matcher.is_complete()
