"""Masks put together from parts, and grammars that share a machine: always as if made alone."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sestina.backend.grammar import (
    CompiledGrammar,
    GrammarCompiler,
    Limits,
    Matcher,
    TokenTrie,
    compile_grammar,
)
from sestina.backend.grammar.matcher import SharedMasks
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    ConstraintLimitExceeded,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)

LETTERS = ir.byte_range(97, 99)
ANY = ir.star(ir.byte_range(0, 255))
CHARS = ir.chars(ir.ANY_CHAR)


@pytest.fixture(scope="session")
def grammars(exprs: st.SearchStrategy[ir.Expr]) -> st.SearchStrategy[ir.Grammar]:
    """Grammars with wide and counted loops, booleans, recursion and control tokens."""
    loops = st.builds(
        lambda item, lo, more: ir.Repeat(item, lo, None if more is None else lo + more),
        st.sampled_from(
            [LETTERS, CHARS, ir.byte_range(32, 126), ir.Alt((CHARS, ir.literal("ab")))]
        ),
        st.integers(0, 3) | st.integers(25, 40),
        st.none() | st.integers(0, 45),
    )
    but = st.builds(
        lambda loop, word, end: ir.And((ir.Concat((loop, end)), ir.Not(ir.Concat((word, end))))),
        loops,
        exprs,
        st.sampled_from([ir.literal('"'), ir.literal("c"), ir.EPSILON]),
    )
    parts = st.one_of(
        exprs,
        loops,
        but,
        st.just(ir.Rule("r")),
        st.just(ir.Rule("s")),
        st.just(ir.Special("<call>")),
        st.sampled_from([b'"', b"a", b"ab", b'": "', b"name"]).map(ir.Literal),
    )
    several = st.lists(parts, min_size=1, max_size=4).map(tuple)
    starts = st.one_of(
        several.map(ir.Concat),
        several.map(ir.Alt),
        st.lists(several.map(ir.Concat), min_size=2, max_size=3).map(tuple).map(ir.Alt),
        st.tuples(several.map(ir.Alt), several.map(ir.Concat)).map(ir.Concat),
    )

    def make(start: ir.Expr, first: ir.Expr, second: ir.Expr, rest: ir.Expr) -> ir.Grammar:
        again = ir.Concat((ir.literal("["), ir.optional(ir.Rule("r")), rest, ir.literal("]")))
        return ir.Grammar(
            start, {"r": ir.Alt((first, again)), "s": ir.Concat((second, ir.Rule("r")))}
        )

    return st.builds(make, starts, exprs | loops, exprs, exprs)


def mask_of(matcher: Matcher) -> NDArray[np.int32]:
    row = np.empty(matcher.grammar.trie.num_words, np.int32)
    matcher.fill_mask(row)
    return row


def plain_mask(matcher: Matcher) -> NDArray[np.int32]:
    """One walk of the whole vocabulary through the automaton's table, and then control tokens."""
    grammar, trie = matcher.grammar, matcher.grammar.trie
    row = np.zeros(trie.num_words, np.int32)
    with grammar.automaton.lock:
        grammar.shared.masks.walk_table(grammar.automaton.budget, matcher.state, row)
    allowed = list(trie.eos_ids) if matcher.is_accepting() else []
    for token_id in grammar.tokenizer.control_ids.values():
        if token_id not in trie.eos_ids and grammar.step(matcher.state, token_id):
            allowed.append(token_id)
    for token_id in allowed:
        row.view(np.uint32)[token_id // 32] |= np.uint32(1 << (token_id % 32))
    return row


def tokens_in(row: NDArray[np.int32]) -> list[int]:
    return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist()


def compiled(
    grammar: ir.Grammar, tokenizer: Any, trie: TokenTrie, shared: SharedMasks | None
) -> CompiledGrammar | None:
    try:
        return compile_grammar(grammar, tokenizer, trie=trie, shared=shared)
    except UnsatisfiableConstraint:
        return None


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_masks_from_parts_equal_plain_walks(
    tokenizer: Any,
    trie: TokenTrie,
    grammars: st.SearchStrategy[ir.Grammar],
    data: st.DataObject,
) -> None:
    made = compiled(data.draw(grammars), tokenizer, trie, None)
    if made is None:
        return
    matcher = made.matcher()
    for _ in range(5):
        row = mask_of(matcher)
        assert tokens_in(row) == tokens_in(plain_mask(matcher))
        choices = [i for i in tokens_in(row) if i not in trie.eos_ids]
        if not choices:
            return
        assert matcher.accept_token(data.draw(st.sampled_from(choices)))


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_sharing_changes_nothing(
    tokenizer: Any,
    trie: TokenTrie,
    grammars: st.SearchStrategy[ir.Grammar],
    data: st.DataObject,
) -> None:
    shared = SharedMasks(trie, tokenizer, 1 << 20)
    drawn = data.draw(st.lists(grammars, min_size=2, max_size=4))
    pairs = []
    for grammar in [*drawn, *data.draw(st.permutations(drawn))]:
        alone, together = (compiled(grammar, tokenizer, trie, s) for s in (None, shared))
        assert (alone is None) == (together is None)
        if alone is not None and together is not None:
            pairs.append((alone.matcher(), together.matcher()))
    for _ in range(3 * len(pairs)):
        alone_at, together_at = data.draw(st.sampled_from(pairs))
        row = mask_of(alone_at)
        assert tokens_in(row) == tokens_in(mask_of(together_at))
        assert alone_at.is_accepting() == together_at.is_accepting()
        assert alone_at.is_complete() == together_at.is_complete()
        assert alone_at.forced_tokens() == together_at.forced_tokens()
        if choices := tokens_in(row):
            token_id = data.draw(st.sampled_from(choices))
            assert alone_at.accept_token(token_id)
            assert together_at.accept_token(token_id)


def test_equal_rules_of_two_grammars_are_one(
    tokenizer: Any, trie: TokenTrie, nested_arrays: ir.Grammar
) -> None:
    shared = SharedMasks(trie, tokenizer, 1 << 20)
    first = compile_grammar(nested_arrays, tokenizer, trie=trie, shared=shared)
    value = nested_arrays.rules["value"]
    assert isinstance(value, ir.Alt)

    def renamed(e: ir.Expr) -> ir.Expr:
        if isinstance(e, ir.Rule):
            return ir.Rule("other")
        if isinstance(e, ir.Repeat):
            return ir.Repeat(renamed(e.item), e.lo, e.hi)
        if isinstance(e, (ir.Alt, ir.Concat)):
            return type(e)(tuple(map(renamed, e.items)))
        return e

    again = ir.Grammar(ir.Rule("other"), {"other": renamed(value)})
    second = compile_grammar(again, tokenizer, trie=trie, shared=shared)
    assert first.automaton.start == second.automaton.start
    nullable = ir.Grammar(ir.Rule("other"), {"other": ir.Alt((renamed(value), ir.EPSILON))})
    third = compile_grammar(nullable, tokenizer, trie=trie, shared=shared)
    assert third.automaton.is_accepting(third.automaton.start)
    assert not first.automaton.is_accepting(first.automaton.start)


R, Q = ir.Rule("r"), ir.Rule("q")
NESTED = ir.Alt((ir.literal("a"), ir.Concat((ir.literal("["), R, ir.literal("]")))))
RULES = {"r": NESTED, "q": ir.Repeat(LETTERS, 1, 2)}
BRACKET = ir.Concat((ir.literal("["), ANY))


@pytest.mark.parametrize(
    "start",
    [
        ir.Concat((R, Q)),
        ir.Not(Q),
        ir.And((R, BRACKET)),
        ir.And((ir.Concat((R, Q)), BRACKET)),
        ir.And((ir.Concat((Q, R)), ir.Not(BRACKET))),
        ir.And((R, ir.Concat((R, ir.optional(Q))))),
        ir.And((Q, ir.Alt((R, BRACKET)))),
        ir.Not(ir.Concat((Q, R))),
        ir.Alt((ir.Not(R), Q)),
    ],
)
def test_rules_that_are_known_are_read_again_inside_booleans(
    tokenizer: Any, trie: TokenTrie, start: ir.Expr
) -> None:
    shared = SharedMasks(trie, tokenizer, 1 << 20)
    for before in (R, Q, ir.Alt((R, Q))):
        compile_grammar(ir.Grammar(before, RULES), tokenizer, trie=trie, shared=shared)
    assert all((name, id(RULES[name])) in shared.machine.known for name in RULES)
    found = []
    for machine in (None, shared):
        try:
            automaton = compile_grammar(
                ir.Grammar(start, RULES), tokenizer, trie=trie, shared=machine
            ).automaton
        except UnsupportedConstraint as error:
            found.append(str(error))
        else:
            texts = (b"a", b"ab", b"aba", b"[a]", b"[[a]]b", b"a[a]", b"b[a]", b"aa[", b"")
            ends = [automaton.advance(automaton.start, text) for text in texts]
            found.append(str(list(map(automaton.is_accepting, ends))))
    assert found[0] == found[1]


def test_a_rule_is_known_by_its_body_as_well(tokenizer: Any, trie: TokenTrie) -> None:
    shared = SharedMasks(trie, tokenizer, 1 << 20)
    start = ir.Concat((R, ir.literal("!")))
    bodies = [NESTED, ir.Alt((ir.literal("b"), *NESTED.items[1:])), ir.literal("c")]
    for body, text in [*zip(bodies, (b"[a]!", b"[b]!", b"c!"), strict=True)] * 2:
        grammar = ir.Grammar(start, {"r": body, "s": NESTED})
        automaton = compile_grammar(grammar, tokenizer, trie=trie, shared=shared).automaton
        assert automaton.is_accepting(automaton.advance(automaton.start, text))
    # The body's own mention of r is another rule here.
    grammar = ir.Grammar(ir.Rule("s"), {"s": NESTED, "r": ir.literal("d")})
    automaton = compile_grammar(grammar, tokenizer, trie=trie, shared=shared).automaton
    assert automaton.is_accepting(automaton.advance(automaton.start, b"[d]"))
    assert not automaton.is_accepting(automaton.advance(automaton.start, b"[a]"))


def explosive(n: int) -> ir.Expr:
    """The letter n from the end is an a: 2^n states, found one by one."""
    return ir.Concat((ir.star(LETTERS), ir.literal("a"), ir.Repeat(LETTERS, n, n)))


def write(matcher: Matcher, text: bytes) -> None:
    for letter in text:
        mask_of(matcher)
        assert matcher.accept_token(letter)


def test_a_hostile_grammar_harms_no_other(tokenizer: Any, trie: TokenTrie) -> None:
    shared = SharedMasks(trie, tokenizer, 1 << 20)
    loop = ir.Repeat(ir.Alt((CHARS, ir.literal("ab"))), 0, 400)
    e = ir.Concat((ir.literal('"'), loop, ir.literal('"'), explosive(3)))
    good = compile_grammar(ir.Grammar(e), tokenizer, trie=trie, shared=shared).matcher()
    alone = compile_grammar(ir.Grammar(e), tokenizer, trie=trie).matcher()
    for matcher in (good, alone):
        write(matcher, b'"xyz')

    small = Limits(max_states=150, max_expressions=2000)
    grammar = compile_grammar(
        ir.Grammar(explosive(14)), tokenizer, trie=trie, shared=shared, limits=small
    )
    hostile = grammar.matcher()
    text = bytes(random.Random(0).choices(b"abc", k=10_000))
    with pytest.raises(ConstraintLimitExceeded, match=r"max_(states|expressions)="):
        write(hostile, text)
    before = repr(hostile)
    with pytest.raises(ConstraintLimitExceeded):
        write(hostile, text)
    assert before.startswith("Matcher(state=")
    no_text = ir.And((explosive(12), ir.Concat((ANY, ir.literal("b"), ir.Repeat(LETTERS, 12, 12)))))
    with pytest.raises(ConstraintLimitExceeded):
        compile_grammar(ir.Grammar(no_text), tokenizer, trie=trie, shared=shared, limits=small)

    spent = good.grammar.automaton.num_expressions
    for token_id in b'w"abca':
        assert tokens_in(mask_of(good)) == tokens_in(mask_of(alone))
        write(good, bytes([token_id]))
        write(alone, bytes([token_id]))
    # It pays for itself only.
    assert good.grammar.automaton.num_expressions - spent < 500


class Only:
    """A constraint over a given expression."""

    def __init__(self, e: ir.Expr) -> None:
        self.e = e

    def to_grammar(self) -> ir.Grammar:
        return ir.Grammar(self.e)


def test_a_full_machine_makes_room_for_a_new_one(tokenizer: Any) -> None:
    words = [ir.literal(f"{i}abc{i}") for i in range(50)]
    compiler = GrammarCompiler(tokenizer, Limits(max_shared_bytes=50_000))
    made = [compiler.compile(cast(Any, Only(ir.Concat((word, ANY))))) for word in words]
    matchers = [grammar.matcher() for grammar in made]
    for i, matcher in enumerate(matchers):
        assert all(map(matcher.accept_token, f"{i}ab".encode()))
    machines = {id(grammar.automaton.machine) for grammar in made}
    assert len(machines) == 1  # what is walked later does not move a grammar
    later = compiler.compile(cast(Any, Only(ir.literal("aab"))))
    assert later.automaton.machine is not made[0].automaton.machine
    for i, matcher in enumerate(matchers):
        assert tokens_in(mask_of(matcher)) == [ord("c")]
        assert matcher.accept_token(ord("c"))
        assert matcher.accept_token(ord(str(i)[0]))
    assert all(map(later.matcher().accept_token, b"a"))


def test_ir_nodes_are_kept_only_while_they_come_back(tokenizer: Any, trie: TokenTrie) -> None:
    shared = SharedMasks(trie, tokenizer, 1 << 20)
    common = ir.Repeat(LETTERS, 2, 5)
    for i in range(20):
        start = ir.Concat((ir.literal(f"{i}x"), common, ir.literal(f"{i}y")))
        compile_grammar(ir.Grammar(start), tokenizer, trie=trie, shared=shared)
    assert id(common) in shared.machine.known
    assert len(shared.machine.known) < 10
