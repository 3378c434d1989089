"""Masks, matchers and forced runs over a small vocabulary, checked token by token."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.grammar import CompiledGrammar, Limits, Matcher, TokenTrie, compile_grammar
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)

Compile = Callable[..., CompiledGrammar]
ANY_CHAR = ir.chars(ir.ANY_CHAR)


@pytest.fixture(scope="session")
def compile_(tokenizer: Any, trie: TokenTrie) -> Compile:
    def run(e: ir.Expr | ir.Grammar, limits: Limits | None = None) -> CompiledGrammar:
        grammar = e if isinstance(e, ir.Grammar) else ir.Grammar(e)
        return compile_grammar(grammar, tokenizer, trie=trie, limits=limits)

    return run


def allowed_ids(matcher: Matcher) -> set[int]:
    row = np.full(matcher.grammar.trie.num_words + 1, -1, np.int32)
    matcher.fill_mask(row)
    return set(np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist())


def accepted_ids(matcher: Matcher) -> set[int]:
    out = set()
    for token_id in range(-1, matcher.grammar.trie.vocab_size + 40):
        before = repr(matcher)
        if matcher.accept_token(token_id):
            out.add(token_id)
            matcher.rollback(1)
        assert repr(matcher) == before
    return out


def walk(matcher: Matcher, data: st.DataObject, steps: int) -> None:
    """Check the matcher at up to `steps` random places of one text."""
    for _ in range(steps):
        allowed = allowed_ids(matcher)
        assert allowed == accepted_ids(matcher)
        assert matcher.is_terminated() or allowed
        forced = matcher.forced_tokens()
        check_forced(matcher, forced)
        if not allowed:
            return
        assert matcher.accept_token(data.draw(st.sampled_from(sorted(allowed))))


def check_forced(matcher: Matcher, forced: list[int]) -> None:
    """Each is accepted, the text can never end before it, and its bytes are the only ones."""
    twin = matcher.fork()
    automaton = matcher.grammar.automaton
    for token_id in forced:
        assert not twin.is_accepting()
        state = twin.state
        for byte in matcher.grammar.trie.token_bytes[token_id]:
            followers = {b for b in range(256) if automaton.step(state, b)}
            assert followers == {byte}
            assert not automaton.is_accepting(state)
            state = automaton.step(state, byte)
        assert twin.accept_token(token_id)
    assert twin.num_tokens == matcher.num_tokens + len(forced)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_mask_is_what_accept_token_takes(
    compile_: Compile, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    try:
        grammar = compile_(data.draw(exprs))
    except UnsatisfiableConstraint:
        return
    walk(grammar.matcher(), data, 4)


@given(st.data(), st.integers(0, 90), st.none() | st.integers(0, 90))
@settings(deadline=None, max_examples=40)
def test_mask_with_long_counters(
    compile_: Compile, data: st.DataObject, lo: int, more: int | None
) -> None:
    # Counters above and below the length of tokens, beside those that one component serves.
    hi = None if more is None else lo + more
    item = data.draw(st.sampled_from([ir.byte_range(97, 98), ir.literal("ab"), ANY_CHAR]))
    e = ir.Concat((ir.Repeat(item, lo, hi), ir.Repeat(ir.byte_range(97, 97), 0, 35)))
    walk(compile_(e).matcher(), data, 3)


@given(st.data(), st.integers(0, 12), st.integers(0, 12), st.integers(0, 6))
@settings(deadline=None, max_examples=60)
def test_mask_of_loops_that_run_out(
    compile_: Compile, data: st.DataObject, most: int, least: int, rest: int
) -> None:
    # The letters of a loop lead back to it, but the bound beside it leaves ever less room.
    letters = ir.byte_range(97, 99)
    loop = ir.Concat((ir.star(letters), ir.Repeat(ir.literal("a"), rest, rest)))
    e = ir.And((ir.Repeat(letters, min(least, most), most), loop))
    end = data.draw(st.sampled_from([ir.EPSILON, ir.literal('"'), ir.literal("ab")]))
    try:
        matcher = compile_(ir.Concat((e, end))).matcher()
    except UnsatisfiableConstraint:
        assert rest > most
        return
    walk(matcher, data, 4)


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_mask_in_recursion(
    compile_: Compile, nested_arrays: ir.Grammar, data: st.DataObject
) -> None:
    walk(compile_(nested_arrays).matcher(), data, 8)


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_rollback_and_fork(
    compile_: Compile, nested_arrays: ir.Grammar, data: st.DataObject
) -> None:
    matcher = compile_(nested_arrays).matcher()
    states = [repr(matcher)]
    for _ in range(data.draw(st.integers(0, 10))):
        allowed = sorted(allowed_ids(matcher))
        if not allowed:
            break
        assert matcher.accept_token(data.draw(st.sampled_from(allowed)))
        states.append(repr(matcher))
    twin = matcher.fork()
    back = data.draw(st.integers(0, len(states) - 1))
    matcher.rollback(back)
    assert repr(matcher) == states[len(states) - 1 - back]
    assert repr(twin) == states[-1]
    twin.rollback(len(states) - 1)
    assert repr(twin) == states[0]
    with pytest.raises(ValueError, match="cannot take back 1 of 0"):
        twin.rollback(1)
    with pytest.raises(ValueError, match="cannot take back -1"):
        twin.rollback(-1)


def test_end_of_text(compile_: Compile, tokenizer: Any) -> None:
    matcher = compile_(ir.Repeat(ir.literal("a"), 1, 2)).matcher()
    eos, eot = tokenizer.eos_ids
    assert not matcher.accept_token(eos)
    assert matcher.accept_token(ord("a"))
    assert matcher.is_accepting()
    assert not matcher.is_complete()
    assert {eos, eot} <= allowed_ids(matcher)
    assert matcher.accept_token(ord("a"))
    assert matcher.is_complete()
    assert allowed_ids(matcher) == {eos, eot}
    assert matcher.accept_token(eot)
    assert matcher.is_terminated()
    assert matcher.is_accepting()
    assert allowed_ids(matcher) == set()
    assert matcher.forced_tokens() == []
    assert not matcher.accept_token(eos)
    matcher.rollback(1)
    assert not matcher.is_terminated()


def test_control_tokens(compile_: Compile, tokenizer: Any) -> None:
    call, end = tokenizer.control_ids["<call>"], tokenizer.control_ids["<end>"]
    body = ir.Repeat(ir.byte_range(97, 98), 1, 3)
    e = ir.Concat((ir.literal("na"), ir.Special("<call>"), body, ir.Special("<end>")))
    matcher = compile_(e).matcher()
    # "na" could begin no longer token here: only a control token may follow.
    forced = matcher.forced_tokens()
    assert tokenizer.decode(forced) == "na"
    assert forced[-1] == call
    assert call not in allowed_ids(matcher)
    assert all(map(matcher.accept_token, forced))
    assert end not in allowed_ids(matcher)
    assert allowed_ids(matcher) == accepted_ids(matcher)
    assert not matcher.accept_token(call)
    assert matcher.accept_token(ord("b"))
    assert allowed_ids(matcher) == accepted_ids(matcher)
    assert matcher.accept_token(end)
    assert matcher.is_complete()
    with pytest.raises(InvalidConstraint, match="no control token '<who>'"):
        compile_(ir.Special("<who>"))
    with pytest.raises(UnsupportedConstraint, match="ends the text"):
        compile_(ir.Special("<eos>"))


def test_a_control_token_that_no_grammar_names(compile_: Compile, tokenizer: Any) -> None:
    grammar = compile_(ir.star(ir.byte_range(97, 98)))
    assert not grammar.matcher().accept_token(tokenizer.control_ids["<call>"])
    # It is not looked for in later masks either.
    assert grammar.automaton.machine.special_ids == []


def test_rows(compile_: Compile) -> None:
    matcher = compile_(ir.literal("a")).matcher()
    words = matcher.grammar.trie.num_words
    row = np.full(words + 3, -1, np.int32)
    matcher.fill_mask(row)
    assert not row[words:].any()
    with pytest.raises(ValueError, match="words"):
        matcher.fill_mask(np.zeros(words - 1, np.int32))


def test_masks_are_evicted_within_their_bytes(compile_: Compile) -> None:
    digits = [ir.literal(f"{i:03}") for i in range(0, 1000, 7)]
    grammar = compile_(ir.Alt(tuple(digits)), Limits(max_mask_cache_bytes=2000))
    matcher = grammar.matcher()
    first = allowed_ids(matcher)
    for text in (b"007", b"014", b"700", b"994"):
        for byte in text:
            assert allowed_ids(matcher) == accepted_ids(matcher)
            assert matcher.accept_token(byte)
        masks = grammar.shared.masks
        assert 4 * masks.trie.num_words * len(masks._masks) <= 2000
        matcher.rollback(3)
    assert allowed_ids(matcher) == first
    assert grammar.memory_bytes() > 0


def test_limits_concern_one_matcher(compile_: Compile) -> None:
    grammar = compile_(ir.literal("abcabcabcabc"), Limits(max_states=9))
    one, other = grammar.matcher(), grammar.matcher()
    assert all(map(one.accept_token, b"abcabca"))
    before = repr(one)
    with pytest.raises(ConstraintLimitExceeded, match="max_states=9"):
        one.accept_token(ord("b"))
    assert repr(one) == before
    assert ord("b") in allowed_ids(one)  # a mask needs no states here
    assert all(map(other.accept_token, b"abcabca"))


def test_counted_text_shares_masks(compile_: Compile) -> None:
    e = ir.Concat((ir.literal('"'), ir.Repeat(ANY_CHAR, 0, 500), ir.literal('"')))
    matcher = compile_(e).matcher()
    assert matcher.accept_token(ord('"'))
    for _ in range(400):
        allowed_ids(matcher)
        assert matcher.accept_token(ord("x"))
    assert len(matcher.grammar.shared.masks._masks) < 10


def test_bytes_that_no_token_has(make_tokenizer: Callable[..., Any]) -> None:
    # "q" cannot be written at all, "t" only inside "true".
    tokenizer = make_tokenizer(missing=frozenset(b"qt"))
    only = compile_grammar(ir.Grammar(ir.Alt((ir.literal("aqa"), ir.literal("b")))), tokenizer)
    assert allowed_ids(only.matcher()) == {ord("b")}
    with pytest.raises(UnsatisfiableConstraint):
        compile_grammar(ir.Grammar(ir.literal("aqa")), tokenizer)
    stuck = compile_grammar(ir.Grammar(ir.literal("at")), tokenizer).matcher()
    assert stuck.accept_token(ord("a"))
    with pytest.raises(UnsatisfiableConstraint, match="no token"):
        allowed_ids(stuck)


def forced_text(compile_: Compile, e: ir.Expr) -> bytes:
    matcher = compile_(e).matcher()
    forced = matcher.forced_tokens()
    check_forced(matcher, forced)
    return b"".join(matcher.grammar.trie.token_bytes[i] for i in forced)


@pytest.mark.parametrize(
    ("e", "text"),
    [
        # Nothing follows: all of it, in the tokenizer's own tokens.
        (ir.literal('[[name": "é€'), '[[name": "é€'),
        # The token '": "' is forced, but '"a' could begin inside it and reach out of it.
        (ir.Concat((ir.literal('{"name": "'), ir.star(ANY_CHAR))), '{"name'),
        (ir.Concat((ir.literal('{"name": "'), ir.byte_range(66, 80))), '{"name": "'),
        # A token "[[" would span the run's end.
        (ir.Concat((ir.literal("12["), ir.Alt((ir.literal("["), ir.literal("1"))))), "12"),
        (ir.Concat((ir.literal("12["), ir.Alt((ir.literal("2"), ir.literal("1"))))), "12["),
        # The text may end, so nothing is forced.
        (ir.optional(ir.literal("12")), ""),
        # U+20AC and U+20AD share two bytes: cut at whole characters.
        (ir.Concat((ir.literal("x"), ir.Alt((ir.literal("€"), ir.literal("\u20ad"))))), "x"),
        (ir.Concat((ir.Literal(b"\x82"), ir.literal("x"))), ""),
    ],
)
def test_forced_runs(compile_: Compile, e: ir.Expr, text: str) -> None:
    assert forced_text(compile_, e).decode() == text


def test_forced_run_inside_a_character(compile_: Compile) -> None:
    matcher = compile_(ir.Alt((ir.literal("€uro"), ir.literal("é!")))).matcher()
    assert matcher.forced_tokens() == []
    assert matcher.accept_token("€".encode()[0])
    assert matcher.forced_tokens() == []
    assert all(map(matcher.accept_token, "€".encode()[1:]))
    assert matcher.forced_tokens() == list(b"uro")


def test_long_forced_runs_come_in_parts(compile_: Compile) -> None:
    text = b"0123456789" * 30
    matcher = compile_(ir.Literal(text), Limits(max_forced_bytes=64)).matcher()
    parts = 0
    while not matcher.is_complete():
        forced = matcher.forced_tokens()
        assert forced
        assert all(map(matcher.accept_token, forced))
        parts += 1
    assert parts >= 300 // 64


def test_long_histories(compile_: Compile) -> None:
    matcher = compile_(ir.star(ir.literal("a"))).matcher()
    for _ in range(100_000):
        matcher.accept_token(ord("a"))
    matcher.rollback(99_999)
    assert matcher.num_tokens == 1
    gc.collect()
