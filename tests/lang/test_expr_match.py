"""Short texts in a language: against the definition in `ir_matcher`, and a bound on the work."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import expr_match
from sestina.lang import grammar_ir as ir

LEAVES = st.sampled_from(
    [ir.Literal(b""), ir.Literal(b"a"), ir.Literal(b"ab"), ir.ByteSet(1 << 0x61 | 1 << 0x62)]
)


def compound(inner: st.SearchStrategy[ir.Expr]) -> st.SearchStrategy[ir.Expr]:
    some = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return (
        some.map(ir.Concat)
        | some.map(ir.Alt)
        | some.map(ir.And)
        | inner.map(ir.Not)
        | st.builds(ir.Repeat, inner, st.integers(0, 2), st.none() | st.integers(2, 3))
    )


@pytest.mark.parametrize("max_sets", [expr_match.MAX_SETS, 2])
@settings(deadline=None, max_examples=150)
@given(expr=st.recursive(LEAVES, compound, max_leaves=6))
def test_matches_as_defined(max_sets: int, expr: ir.Expr) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expr_match, "MAX_SETS", max_sets)
        for length in range(4):
            for letters in product("abc", repeat=length):
                text = "".join(letters)
                assert expr_match.matches(expr, text.encode()) == accepts(ir.Grammar(expr), text)


def test_what_is_shared_or_nested_is_looked_at_once() -> None:
    nested: ir.Expr = ir.Literal(b"a")
    shared: ir.Expr = ir.Repeat(nested, 0, 1)
    for _ in range(200):
        nested, shared = ir.Repeat(nested, 0, 1), ir.Concat((shared, shared))
    for expr, text in ((nested, b"a"), (shared, b"a" * 50)):
        assert expr_match.matches(expr, text)
        assert not expr_match.matches(expr, b"ab")
