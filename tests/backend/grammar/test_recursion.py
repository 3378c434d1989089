"""And of a recursive language with regular ones: texts, and that no state leads nowhere."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.grammar import DEAD, Automaton, compile_automaton
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import UnsatisfiableConstraint, UnsupportedConstraint

WORDS = [bytes(w) for n in range(7) for w in itertools.product(b"(x)", repeat=n)]
NESTED = ir.Rule("nested")
RULES: dict[str, ir.Expr] = {
    # nested -> x | ( nested* )
    "nested": ir.Alt(
        (ir.literal("x"), ir.Concat((ir.literal("("), ir.star(NESTED), ir.literal(")"))))
    )
}


def accepts(automaton: Automaton, text: bytes) -> bool:
    return automaton.is_accepting(automaton.advance(automaton.start, text))


def check(e: ir.Expr, regular: ir.Expr) -> None:
    """e is NESTED and `regular` at once."""
    nested = compile_automaton(ir.Grammar(NESTED, RULES))
    side = compile_automaton(ir.Grammar(ir.Alt((regular, ir.literal("never")))))
    expected = {word for word in WORDS if accepts(nested, word) and accepts(side, word)}
    try:
        automaton = compile_automaton(ir.Grammar(e, RULES))
    except UnsatisfiableConstraint:
        assert not expected
        return
    for word in WORDS:
        assert accepts(automaton, word) == (word in expected), word
        if any(text.startswith(word) for text in expected):
            assert automaton.advance(automaton.start, word) != DEAD, word


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_agrees_with_both_sides(
    plain_exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    drawn = data.draw(plain_exprs)
    letters = {97: "(", 98: "x", 99: ")"}

    def respelled(e: ir.Expr) -> ir.Expr:
        if isinstance(e, ir.Literal):
            return ir.literal("".join(letters[b] for b in e.data))
        if isinstance(e, ir.ByteSet):
            inside = [letters[b] for b in letters if e.mask >> b & 1]
            return ir.Alt(tuple(map(ir.literal, inside)))
        if isinstance(e, ir.Repeat):
            return ir.Repeat(respelled(e.item), e.lo, e.hi)
        assert isinstance(e, (ir.Concat, ir.Alt))
        return type(e)(tuple(map(respelled, e.items)))

    regular = ir.Concat((respelled(drawn), ir.star(ir.byte_range(0, 127))))
    check(ir.And((NESTED, regular)), regular)
    check(
        ir.And((regular, ir.And((ir.Not(ir.literal("x")), NESTED)))),
        ir.And((regular, ir.Not(ir.literal("x")))),
    )


def test_no_state_is_entered_that_cannot_be_left() -> None:
    """At most seven bytes: an eighth parenthesis could not be closed in time."""
    short = ir.Repeat(ir.byte_range(0, 127), 0, 7)
    automaton = compile_automaton(ir.Grammar(ir.And((NESTED, short)), RULES))
    assert automaton.advance(automaton.start, b"(((") != DEAD
    assert automaton.advance(automaton.start, b"((((") == DEAD
    assert automaton.advance(automaton.start, b"(((x)") != DEAD
    assert automaton.advance(automaton.start, b"(((xx)") == DEAD


def test_an_intersection_inside_the_recursion() -> None:
    # pair -> ( pair ) | x, but no ( directly around x: the inner And is of the rule itself.
    inner = ir.And((ir.Rule("pair"), ir.Not(ir.literal("x"))))
    pair = ir.Alt((ir.literal("x"), ir.Concat((ir.literal("("), inner, ir.literal(")")))))
    automaton = compile_automaton(ir.Grammar(ir.Rule("pair"), {"pair": pair}))
    assert accepts(automaton, b"x")
    assert automaton.step(automaton.start, ord("(")) == DEAD


@pytest.mark.parametrize(
    "e",
    [
        ir.And((NESTED, ir.Concat((NESTED, NESTED)))),
        ir.And((NESTED, ir.Not(ir.Concat((NESTED, ir.literal("x")))))),
    ],
)
def test_recursion_on_both_sides_is_refused(e: ir.Expr) -> None:
    with pytest.raises(UnsupportedConstraint, match="'nested' is recursive"):
        compile_automaton(ir.Grammar(e, RULES))
