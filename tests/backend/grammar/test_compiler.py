"""Compiling constraints: caching, sharing between threads, errors."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sestina.backend.grammar import (
    CompiledGrammar,
    GrammarCompiler,
    Limits,
    compile_constraint,
    compile_grammar,
)
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import Regex
from sestina.lang.errors import (
    ConstraintError,
    ConstraintLimitExceeded,
    InvalidParams,
    UnsatisfiableConstraint,
)


@dataclass(frozen=True)
class Exactly:
    """A constraint that counts how often it was lowered, and can wait while it is."""

    text: str
    lowered: list[int] = field(default_factory=list, compare=False)
    gate: threading.Event | None = field(default=None, compare=False)
    first_raises: BaseException | None = field(default=None, compare=False)

    def to_grammar(self) -> ir.Grammar:
        self.lowered.append(1)
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.first_raises is not None and len(self.lowered) == 1:
            raise self.first_raises
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


def outcomes(compiler: GrammarCompiler, constraint: Any, num_threads: int) -> list[object]:
    """What each of the threads got that ask for one constraint at once, an error as a value."""
    found: list[object] = []

    def ask() -> None:
        try:
            found.append(compiler.compile(constraint))
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    while not constraint.lowered:
        time.sleep(0.001)
    constraint.gate.set()
    for thread in threads:
        thread.join(10)
    return found


def test_threads_share_one_error(tokenizer: Any) -> None:
    compiler = GrammarCompiler(tokenizer)
    found = outcomes(compiler, Exactly("", gate=threading.Event()), 4)
    assert len(found) == 4
    assert all(isinstance(error, UnsatisfiableConstraint) for error in found)
    assert compiler.compile(cast(Any, Exactly("b"))).matcher().accept_token(ord("b"))


def test_an_interrupt_ends_one_thread_only(tokenizer: Any) -> None:
    compiler = GrammarCompiler(tokenizer)
    interrupt = KeyboardInterrupt()
    constraint = Exactly("ab", gate=threading.Event(), first_raises=interrupt)
    found = outcomes(compiler, constraint, 4)
    assert len(found) == 4
    assert found.count(interrupt) == 1
    assert len({id(each) for each in found}) == 2
    assert len(constraint.lowered) == 2


def test_errors_of_one_constraint_are_no_errors_of_another(tokenizer: Any) -> None:
    """Many threads, half of them with a constraint that fails: each gets what is its own."""
    compiler = GrammarCompiler(tokenizer, Limits(max_nesting=20))
    deep = ir.literal("a")
    for _ in range(30):
        deep = ir.Concat((ir.Alt((deep, ir.literal("bc"))), ir.literal("c")))
    good = [Exactly(f"text {i}") for i in range(8)]
    bad = [Exactly("", lowered=[]), _Over(deep)]
    found: dict[int, object] = {}

    def ask(at: int, constraint: Any) -> None:
        try:
            found[at] = compiler.compile(constraint)
        except ConstraintError as error:
            found[at] = type(error)

    asked = [part for each in good for part in (each, *bad)]
    threads = [threading.Thread(target=ask, args=each) for each in enumerate(asked)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for at, constraint in enumerate(asked):
        if isinstance(constraint, _Over):
            assert found[at] is ConstraintLimitExceeded
        elif not constraint.text:
            assert found[at] is UnsatisfiableConstraint
        else:
            matcher = cast(CompiledGrammar, found[at]).matcher()
            assert all(map(matcher.accept_token, constraint.text.encode()))
            assert matcher.is_complete()


@dataclass(frozen=True)
class _Over:
    """A constraint over a given expression."""

    expr: ir.Expr

    def to_grammar(self) -> ir.Grammar:
        return ir.Grammar(self.expr)


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
