"""Derivatives against their definition: w is in the derivative of e by b exactly if bw is in e."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, matches, words

from sestina.backend.grammar.core import intern
from sestina.backend.grammar.core.memory import EMPTY, EPSILON, NUM_BYTES, WORK
from sestina.backend.grammar.limits import Limits
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintLimitExceeded

WORDS = words(3)
LETTERS = ir.byte_range(97, 99)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_definition(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    node = data.draw(exprs)
    e = shared_core.make(node)
    for byte in b"abcd":
        left = shared_core.derivative(e, byte)
        for word in WORDS:
            assert shared_core.accepts(left, word) == matches(node, bytes([byte]) + word)


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_bytes_of_one_class_have_one_derivative(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    core = shared_core
    e = core.make(data.draw(exprs))
    classes = core.classes(e)
    assert set(classes) == set(range(max(classes) + 1))
    derivative_of: dict[int, int] = {}
    for byte in range(NUM_BYTES):
        left = core.derivative(e, byte)
        assert derivative_of.setdefault(classes[byte], left) == left


def test_no_more_classes_than_kinds_of_bytes(core: Core) -> None:
    parts = [ir.byte_range(97, 120), ir.literal("xy"), ir.star(ir.byte_range(48, 57))]
    classes = core.classes(core.make(ir.Alt(tuple(parts))))
    digits, x, letters = (set(classes[lo:hi]) for lo, hi in ((48, 58), (120, 121), (97, 120)))
    assert len(digits) == len(letters) == len(x) == 1
    assert len(set(classes)) == 4  # these, and the bytes that lead nowhere


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_first_bytes_miss_none(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    core = shared_core
    e = core.make(data.draw(exprs))
    first = core.first_bytes(e)
    assert {b for b in range(NUM_BYTES) if core.derivative(e, b) != EMPTY} <= first


def test_first_bytes_of_what_has_no_booleans_are_exact(core: Core) -> None:
    e = core.make(ir.Concat((ir.optional(ir.literal("xy")), ir.star(LETTERS), ir.literal("z"))))
    assert core.first_bytes(e) == set(b"xabcz")


def test_control_tokens_are_symbols_of_their_own(core: Core) -> None:
    call = core.run(intern.special, 3)
    both = core.cat(call, core.literal(b"x"))
    assert core.derivative(both, NUM_BYTES + 3) == core.literal(b"x")
    assert {core.derivative(both, symbol) for symbol in (*range(256), NUM_BYTES)} == {EMPTY}
    assert core.derivative(core.literal(b"x"), NUM_BYTES + 3) == EMPTY
    assert core.derivative(core.complement(core.literal(b"x")), NUM_BYTES + 3) == EMPTY


def test_rules_are_their_bodies(core: Core) -> None:
    """list -> a list b | nothing, walked a thousand levels down and up again."""
    rule = core.run(intern.rule, -1, intern.ALONE, 1)
    body = core.alt([core.cat(core.literal(b"a"), core.cat(rule, core.literal(b"b"))), EPSILON])
    core.run(intern.set_body, rule, body)
    assert core.accepts(rule, b"a" * 1000 + b"b" * 1000)
    assert not core.accepts(rule, b"a" * 1000 + b"b" * 999)


def test_depth_is_bounded() -> None:
    core = Core(limits=Limits(max_depth=50))
    e = core.literal(b"ab")
    for i in range(100):
        e = core.alt([core.complement(core.cat(e, core.literal(b"c%d" % i))), core.literal(b"xy")])
    with pytest.raises(ConstraintLimitExceeded, match="max_depth=50"):
        core.derivative(e, ord("a"))
    assert core.derivative(core.literal(b"ab"), ord("a")) == core.literal(b"b")


def test_a_derivative_takes_each_part_once(core: Core) -> None:
    """Parts that many share are derived once, though there are 2^30 ways to them."""
    e = core.literal(b"ab")
    for i in range(30):
        e = core.repeat(
            core.alt([core.cat(e, core.literal(b"c")), core.cat(e, core.byte_set(1 << i))]), 1, 2
        )
    core.derivative(e, ord("a"))


def test_looking_for_first_bytes_is_work(core: Core) -> None:
    """A mask asks it of each tail of a long sequence whose parts may all be left out."""
    e = EPSILON
    for i in range(1000):
        e = core.cat(core.repeat(core.make(ir.byte_range(97, 98 + i % 20)), 0, 1), e)
    assert core.first_bytes(e) == set(range(97, 118))
    assert core.mem[WORK] > 1000


@pytest.mark.parametrize("is_first", [True, False])
def test_a_byte_is_told_from_far_ones(core: Core, is_first: bool) -> None:
    """A class that a set leaves may have bytes in several words, of which a literal takes one."""
    makers = [
        lambda: core.cat(core.byte_set(1 << 97 | 1 << 233), core.literal(b"c")),
        lambda: core.literal(b"abb"),
    ]
    e = core.alt([make() for make in (makers if is_first else reversed(makers))])
    classes = core.classes(e)
    assert len({classes[97], classes[233], classes[98]}) == 3
