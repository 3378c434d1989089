"""Alternations and intersections: flat, sorted, pulled together, of the same language."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, matches, words

from sestina.backend.grammar.core.entries import without_complements
from sestina.backend.grammar.core.memory import ALL, EMPTY, EPSILON
from sestina.lang import grammar_ir as ir

WORDS = words(4)
A, B, C = map(ir.literal, "abc")
AB, AC, BC = map(ir.literal, ("ab", "ac", "bc"))
STAR = ir.star(ir.byte_range(97, 99))


def counted(lo: int, hi: int | None, tail: ir.Expr = ir.EPSILON) -> ir.Expr:
    return ir.Concat((ir.Repeat(A, lo, hi), tail))


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_alt_is_any_and_both_is_all(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    core = shared_core
    nodes = data.draw(st.lists(exprs, max_size=4))
    made = [core.make(node) for node in nodes]
    either = [core.alt(made), core.alt(made, depth=0), core.alt(made, depth=1)]
    everything = core.both(made)
    for word in WORDS:
        found = [matches(node, word) for node in nodes]
        assert [core.accepts(e, word) for e in either] == [any(found)] * 3
        assert core.accepts(everything, word) == all(found)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_order_grouping_and_doubles_do_not_matter(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    """As long as nothing is pulled together across groups, which sets and counters are."""
    core = shared_core
    made = [core.make(node) for node in data.draw(st.lists(exprs, min_size=1, max_size=4))]
    mixed = data.draw(st.permutations([*made, *data.draw(st.lists(st.sampled_from(made)))]))
    assert core.alt(made) == core.alt(mixed)
    assert core.both(made) == core.both(mixed)
    assert core.alt([core.alt(made)]) == core.alt(made)
    assert core.both([core.both(made)]) == core.both(made)


@pytest.mark.parametrize(
    ("parts", "equal"),
    [
        # neutral and absorbing ones
        ([], ir.NOTHING),
        ([A, ir.NOTHING], A),
        ([A, ir.star(ir.byte_range(0, 255))], ir.star(ir.byte_range(0, 255))),
        ([ir.star(A), ir.EPSILON], ir.star(A)),
        # sets are merged
        ([A, B], ir.byte_range(97, 98)),
        ([ir.byte_range(97, 98), ir.byte_range(98, 99), A], ir.byte_range(97, 99)),
        # counters of one loop are merged where no count lies between them
        ([counted(1, 3, B), counted(2, 9, B)], counted(1, 9, B)),
        ([counted(1, 3, B), counted(4, 5, B)], counted(1, 5, B)),
        ([counted(1, 3), ir.EPSILON], counted(0, 3)),
        ([counted(3, None), counted(1, 2)], counted(1, None)),
        ([counted(0, 1), counted(5, 6), counted(2, 4)], counted(0, 6)),
        # equal heads are factored out
        (
            [ir.Concat((STAR, AB)), ir.Concat((STAR, BC))],
            ir.Concat((STAR, ir.Alt((AB, BC)))),
        ),
    ],
)
def test_alternations_are_pulled_together(core: Core, parts: list[ir.Expr], equal: ir.Expr) -> None:
    assert core.alt(map(core.make, parts)) == core.make(equal)


def test_a_head_by_itself_is_factored_out_too(core: Core) -> None:
    """x|xy is x(|y)."""
    head, longer = core.make(STAR), core.make(ir.Concat((STAR, AB)))
    assert core.alt([head, longer]) == core.cat(head, core.alt([EPSILON, core.make(AB)]))


@pytest.mark.parametrize(
    "parts",
    [
        [counted(1, 3, B), counted(5, 9, B)],  # four copies are in neither
        [counted(1, 3, B), counted(2, 9, C)],  # other tails
        [counted(3, 4), ir.EPSILON],
        [ir.Concat((ir.Repeat(AB, 1, 2), C)), ir.Concat((ir.Repeat(AC, 1, 2), C))],
    ],
)
def test_what_differs_stays_apart(core: Core, parts: list[ir.Expr]) -> None:
    assert len(core.parts(core.alt(map(core.make, parts)))) == 2


@pytest.mark.parametrize(
    ("parts", "equal"),
    [
        ([], ir.star(ir.byte_range(0, 255))),
        ([AB, ir.star(ir.byte_range(0, 255))], AB),
        ([AB, ir.NOTHING], ir.NOTHING),
        ([AB, ir.EPSILON], ir.NOTHING),
        ([STAR, ir.EPSILON], ir.EPSILON),
        ([AB, ir.Not(AB)], ir.NOTHING),
        ([ir.byte_range(97, 98), ir.byte_range(98, 99)], B),
        ([A, B], ir.NOTHING),
    ],
)
def test_intersections_that_are_seen_through(
    core: Core, parts: list[ir.Expr], equal: ir.Expr
) -> None:
    assert core.both(map(core.make, parts)) == core.make(equal)


def test_many_parts_are_sorted_and_kept_once(core: Core) -> None:
    texts = [b"word %d" % i for i in range(300)]
    made = [core.literal(text) for text in texts]
    shuffled = [*made, *made]
    random.Random(0).shuffle(shuffled)
    e = core.alt(shuffled)
    assert e == core.alt(made)
    assert core.parts(e) == sorted(made)


def test_without_complements(core: Core) -> None:
    """A & ~B lies in A; anything else is its own."""
    plain, but = core.make(STAR), core.complement(core.make(AB))
    assert core.run(without_complements, core.both([plain, but])) == plain
    assert core.run(without_complements, plain) == plain
    assert core.run(without_complements, core.both([but, core.complement(core.make(AC))])) == ALL
    assert {core.run(without_complements, e) for e in (EMPTY, EPSILON)} == {EMPTY, EPSILON}
