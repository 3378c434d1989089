"""Clamped counters: no text of that many bytes can tell, and many states become one."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, tokens_in, words

from sestina.backend.grammar import CompiledGrammar, TokenTrie, compile_grammar
from sestina.backend.grammar.core import calls
from sestina.backend.grammar.core.memory import EMPTY
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import UnsatisfiableConstraint

LETTERS = ir.byte_range(97, 99)


@st.composite
def counted(draw: st.DrawFn) -> ir.Expr:
    """Sequences and alternations of loops that count as far as a short text, or farther."""
    items = st.sampled_from([LETTERS, ir.literal("ab"), ir.literal("b"), ir.literal("abcab" * 4)])
    loops = st.builds(
        lambda item, lo, more: ir.Repeat(item, lo, None if more is None else lo + more),
        items,
        st.integers(0, 9),
        st.none() | st.integers(0, 9),
    )
    several = st.lists(loops | items, min_size=1, max_size=3)
    either = st.lists(several.map(tuple).map(ir.Concat), min_size=1, max_size=3)
    inner = draw(either.map(tuple).map(ir.Alt))
    lo = draw(st.integers(0, 6))
    outer = ir.Repeat(inner, lo, draw(st.none() | st.integers(lo, 9)))
    return draw(st.sampled_from([inner, outer, ir.Concat((outer, ir.literal("c"), inner))]))


@given(counted(), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_beginnings_are_the_same(shared_core: Core, node: ir.Expr, max_len: int) -> None:
    """Without And and Not, what is not EMPTY has a text; so `after` tells what begins one."""
    core = shared_core
    e = core.make(node)
    clamped = core.run(calls.clamp, e, max_len)
    assert core.is_nullable(e) == core.is_nullable(clamped)
    for word in words(min(max_len, 4)):
        assert (core.after(e, word) == EMPTY) == (core.after(clamped, word) == EMPTY), word


def test_far_counts_become_one(core: Core) -> None:
    def text(lo: int, hi: int) -> int:
        loop = core.repeat(core.make(LETTERS), lo, hi)
        return core.run(calls.clamp, core.cat(loop, core.literal(b"!")), 20)

    assert text(0, 500) == text(0, 499) == text(0, 21)
    assert text(0, 21) != text(0, 20)
    assert text(100, 500) == text(21, 22)


def test_sequences_of_any_length(core: Core) -> None:
    """Factor by factor, not call by call: this many calls would not fit the stack."""
    digit = core.make(ir.byte_range(48, 57))
    e = core.literal(b"end")
    for i in range(50_000):
        e = core.cat(core.repeat(digit, 0, 2 + i % 50), e)
    clamped = core.run(calls.clamp, e, 10)
    assert core.run(calls.clamp, clamped, 10) == clamped != e


def test_nesting_of_any_depth(core: Core) -> None:
    e = core.literal(b"ab")
    for i in range(3000):
        e = core.alt([core.cat(core.repeat(e, 2, 30 + i), core.literal(b"!")), core.literal(b"ab")])
    assert core.run(calls.clamp, e, 10) > 0


@given(counted(), st.data())
@settings(deadline=None, max_examples=40)
def test_masks_are_the_same(
    tokenizer: Any, trie: TokenTrie, node: ir.Expr, data: st.DataObject
) -> None:
    try:
        grammar = compile_grammar(ir.Grammar(node), tokenizer, trie=trie)
    except UnsatisfiableConstraint:
        return
    matcher = grammar.matcher()
    for _ in range(4):
        row = np.zeros(trie.num_words, np.int32)
        matcher.fill_mask(row)
        assert tokens_in(row) - set(trie.eos_ids) == unclamped(grammar, matcher.state)
        choices = tokens_in(row) - set(trie.eos_ids)
        if not choices:
            return
        assert matcher.accept_token(data.draw(st.sampled_from(sorted(choices))))


def unclamped(grammar: CompiledGrammar, state: int) -> set[int]:
    """The vocabulary through the automaton's table, from the state as it is."""
    row = np.zeros(grammar.trie.num_words, np.int32)
    with grammar.automaton.lock:
        grammar.shared.masks.walk_table(grammar.automaton.budget, state, row)
    return tokens_in(row)
