"""Merged grammars match what each matched alone, whatever their rules are called."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import InternalError
from sestina.lang.grammar_merge import Facts, Merger, facts

WORDS = [bytes(word) for n in range(3) for word in itertools.product(b"ab", repeat=n)]
NAMES = ["r", "s", "r#1"]

leaves = st.one_of(
    st.sampled_from([b"", b"a", b"b", b"ab"]).map(ir.Literal),
    st.just(ir.ByteSet(0b11 << 0x61)),
)


def bodies(inner: st.SearchStrategy[ir.Expr]) -> st.SearchStrategy[ir.Expr]:
    some = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        some.map(ir.Concat),
        some.map(ir.Alt),
        some.map(ir.And),
        inner.map(ir.Not),
        st.builds(ir.Repeat, inner, st.integers(0, 1), st.sampled_from([1, 2, None])),
    )


LATER = [[ir.Rule(name) for name in NAMES[place + 1 :]] or [ir.EPSILON] for place in range(3)]
BODIES = [
    st.recursive(st.one_of(leaves, st.sampled_from(later)), bodies, max_leaves=3) for later in LATER
]
grammars = st.builds(
    lambda rules, start: ir.Grammar(
        ir.Rule(start),
        {
            name: ir.Alt((body, ir.Concat((ir.Literal(b"a"), ir.Rule(name))))) if again else body
            for name, (body, again) in zip(NAMES, rules, strict=True)
        },
    ),
    st.tuples(*(st.tuples(body, st.booleans()) for body in BODIES)),
    st.sampled_from(NAMES),
)
"""Rules that mention later ones anywhere, and maybe themselves after a byte."""


@settings(max_examples=40)
@given(st.lists(grammars, min_size=2, max_size=3))
def test_each_grammar_keeps_its_language(several: list[ir.Grammar]) -> None:
    merger = Merger()
    starts = [merger.start(grammar) for grammar in several]
    for grammar, start in zip(several, starts, strict=True):
        merged = merger.grammar(start)
        for word in WORDS:
            assert accepts(merged, word) == accepts(grammar, word)


@settings(max_examples=40)
@given(grammars)
def test_the_first_grammar_stays_as_it_was(grammar: ir.Grammar) -> None:
    merger = Merger()
    assert merger.grammar(merger.start(grammar)) == grammar


@settings(max_examples=40)
@given(grammars)
def test_an_equal_grammar_adds_nothing(grammar: ir.Grammar) -> None:
    merger = Merger()
    first = merger.start(grammar)
    before = dict(merger.rules)
    assert merger.start(ir.Grammar(grammar.start, dict(grammar.rules))) is first
    assert merger.rules == before


def test_equal_nodes_are_one_object() -> None:
    merger = Merger()
    one, two = (ir.Concat((ir.Literal(b"ab"), ir.Repeat(ir.ByteSet(6), 0, 9))) for _ in range(2))
    assert merger.start(ir.Grammar(one)) is one
    assert merger.start(ir.Grammar(two)) is one


def test_repeats_are_told_apart() -> None:
    merger = Merger()
    several = [ir.Repeat(ir.ByteSet(6), lo, hi) for lo, hi in ((0, 9), (0, None), (1, 9))]
    assert [merger.start(ir.Grammar(each)) for each in several] == several


def test_deep_trees_do_not_recurse() -> None:
    deep: ir.Expr = ir.Rule("r")
    for _ in range(5_000):
        deep = ir.Concat((ir.Literal(b"a"), deep))
    grammar = ir.Grammar(deep, {"r": ir.Special("<|x|>")})
    merger = Merger()
    merger.start(ir.Grammar(ir.Rule("r"), {"r": ir.EPSILON}))
    renamed = merger.start(grammar)
    assert facts(merger.grammar(renamed)) == Facts(None, "<|x|>")


@pytest.mark.parametrize(
    ("start", "rules", "expected"),
    [
        (ir.EPSILON, {}, Facts(None, None)),
        (ir.Rule("a"), {"a": ir.Rule("b"), "b": ir.EPSILON}, Facts(None, None)),
        (ir.Rule("a"), {"a": ir.Rule("b"), "b": ir.Rule("a")}, Facts("a", None)),
        (ir.EPSILON, {"a": ir.Rule("a")}, Facts(None, None)),  # not reached
        (ir.Rule("a"), {"a": ir.Not(ir.Rule("b")), "b": ir.star(ir.Rule("b"))}, Facts("b", None)),
        (ir.Alt((ir.EPSILON, ir.Special("x"))), {}, Facts(None, "x")),
        (ir.Rule("a"), {"a": ir.optional(ir.Special("x"))}, Facts(None, "x")),
    ],
)
def test_facts(start: ir.Expr, rules: dict[str, ir.Expr], expected: Facts) -> None:
    assert facts(ir.Grammar(start, rules)) == expected


def test_a_node_it_does_not_know_is_an_error() -> None:
    with pytest.raises(InternalError, match="object is not a node"):
        Merger().start(ir.Grammar(object()))  # type: ignore[arg-type]
