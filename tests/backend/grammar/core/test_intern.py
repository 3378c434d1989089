"""Making expressions: equal ones are one integer, and simplifying does not change a language."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, matches, words

from sestina.backend.grammar.core.intern import SHARED_TAIL
from sestina.backend.grammar.core.memory import ALL, EMPTY, EPSILON, LITERAL
from sestina.backend.grammar.limits import Limits
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintLimitExceeded

WORDS = words(4)
EVERY = ir.ByteSet((1 << 256) - 1)
A, B = ir.literal("a"), ir.literal("b")
AB = ir.literal("ab")


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_simplifying_keeps_the_language(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    node = data.draw(exprs)
    e = shared_core.make(node)
    for word in WORDS:
        assert shared_core.accepts(e, word) == matches(node, word), word


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_made_again_it_is_the_same_integer(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    node = data.draw(exprs)
    first = shared_core.make(node)
    before = shared_core.budget.spent[0]
    assert shared_core.make(node) == first
    assert shared_core.budget.spent[0] == before


@pytest.mark.parametrize(
    ("node", "equal"),
    [
        # sequences
        (ir.Concat(()), ir.EPSILON),
        (ir.Concat((A, ir.NOTHING)), ir.NOTHING),
        (ir.Concat((ir.NOTHING, A)), ir.NOTHING),
        (ir.Concat((ir.EPSILON, A, ir.EPSILON)), A),
        (ir.Concat((ir.Concat((A, EVERY)), B)), ir.Concat((A, ir.Concat((EVERY, B))))),
        # repetitions
        (ir.Repeat(A, 1, 1), A),
        (ir.Repeat(A, 0, 0), ir.EPSILON),
        (ir.Repeat(ir.NOTHING, 0, None), ir.EPSILON),
        (ir.Repeat(ir.NOTHING, 1, None), ir.NOTHING),
        (ir.Repeat(ir.EPSILON, 3, 5), ir.EPSILON),
        (ir.star(ir.star(A)), ir.star(A)),
        (ir.star(ir.Repeat(A, 0, 5)), ir.star(A)),
        (ir.star(EVERY), ir.Not(ir.NOTHING)),
        (ir.Repeat(ir.star(EVERY), 2, 3), ir.star(EVERY)),
        # A copy of an item that may be empty need not be taken.
        (ir.Repeat(ir.optional(A), 2, 3), ir.Repeat(ir.optional(A), 0, 3)),
        # complements
        (ir.Not(ir.Not(AB)), AB),
        (ir.Not(ir.star(EVERY)), ir.NOTHING),
        # one byte is one byte, however it is written
        (ir.ByteSet(1 << ord("a")), A),
        (ir.ByteSet(0), ir.NOTHING),
    ],
)
def test_simple_ones_are_simple(core: Core, node: ir.Expr, equal: ir.Expr) -> None:
    assert core.make(node) == core.make(equal)


def test_the_first_three(core: Core) -> None:
    assert core.make(ir.NOTHING) == EMPTY
    assert core.make(ir.EPSILON) == EPSILON
    assert core.make(ir.star(EVERY)) == ALL
    assert [core.is_nullable(e) for e in (EMPTY, EPSILON, ALL)] == [False, True, True]


def test_endings_of_literals_meet_once_they_are_short(core: Core) -> None:
    ending = bytes(range(SHARED_TAIL))
    one, other = core.literal(b"x" + ending), core.literal(b"yy" + ending)
    assert core.after(one, b"x") == core.after(other, b"yy") == core.literal(ending)
    longer = ending + b"!"
    one, other = core.literal(b"x" + longer), core.literal(b"yy" + longer)
    assert core.after(one, b"x") != core.after(other, b"yy")  # longer ones share no bytes
    assert core.accepts(one, b"x" + longer)
    assert core.accepts(other, b"yy" + longer)


def test_bytes_outside_of_the_alphabet_are_in_no_text() -> None:
    core = Core(byte_mask=0b111 << ord("a"))
    assert core.make(ir.ByteSet(1 << ord("d"))) == EMPTY
    letters = core.make(ir.ByteSet(0b1111 << ord("a")))
    assert letters == core.make(ir.ByteSet(0b111 << ord("a")))
    assert core.make(ir.star(EVERY)) == core.repeat(letters, 0, None) == ALL
    # What Not leaves is made of the alphabet, too.
    other = core.complement(core.make(A))
    assert [core.accepts(other, text) for text in (b"", b"a", b"b", b"d")] == [1, 0, 1, 0]


@given(st.lists(st.binary(min_size=2, max_size=SHARED_TAIL + 4), max_size=30))
@settings(deadline=None, max_examples=50)
def test_literals_are_told_apart_by_their_bytes(shared_core: Core, texts: list[bytes]) -> None:
    made = [shared_core.literal(text) for text in texts]
    for text, e in zip(texts, made, strict=True):
        assert shared_core.kind(e) == LITERAL
        assert shared_core.accepts(e, text)
        for other, f in zip(texts, made, strict=True):
            if other != text:
                assert e != f
                assert not shared_core.accepts(e, other)
            elif len(text) <= SHARED_TAIL:
                assert e == f


def test_new_expressions_are_paid_for() -> None:
    core = Core(limits=Limits(max_expressions=3))
    made = [core.literal(b"number %d" % i) for i in range(3)]
    with pytest.raises(ConstraintLimitExceeded, match="max_expressions=3"):
        core.literal(b"number 3")
    assert made == [core.literal(b"number %d" % i) for i in range(3)]  # these cost nothing
