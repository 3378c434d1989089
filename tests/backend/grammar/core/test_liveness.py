"""Liveness against brute force: a language is dead if no walk of its derivatives accepts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, matches, words

from sestina.backend.grammar.core import calls
from sestina.backend.grammar.core.memory import DEAD, EMPTY, STATES, has
from sestina.backend.grammar.limits import Limits
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintLimitExceeded

WORDS = words(4)
LETTERS = ir.byte_range(97, 99)
ANY = ir.star(ir.byte_range(0, 255))


def is_empty(core: Core, e: int) -> bool | None:
    """By a search of all derivatives; None if they are too many."""
    seen, todo = {e}, [e]
    while todo:
        e = todo.pop()
        if core.is_nullable(e):
            return False
        if len(seen) > 300:
            return None
        new = {core.derivative(e, byte) for byte in b"abcd"} - seen
        seen |= new
        todo += new
    return True


@given(st.data())
@settings(deadline=None, max_examples=80)
def test_empty_exactly_if_nothing_is_accepted(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    core = shared_core
    parts = data.draw(st.lists(exprs, min_size=1, max_size=3))
    e = core.both(map(core.make, parts))
    for text in (b"", b"a", b"ab"):
        # Liveness of a remainder: the parts of what it comes from are live.
        left = core.after(core.live(e), text)
        empty = is_empty(core, left)
        if empty is not None:
            assert (core.live(left) == EMPTY) == empty


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_what_is_dropped_matched_nothing(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    node = ir.And((data.draw(exprs), data.draw(exprs)))
    e = shared_core.live(shared_core.make(node))
    for word in WORDS:
        assert shared_core.accepts(e, word) == matches(node, word)


def test_all_that_a_failed_search_saw_is_known_to_be_dead(core: Core) -> None:
    # Ten letters that end in c, of which none is a c.
    no_c = core.repeat(core.byte_set(0b11 << 97), 10, 10)
    ends_in_c = core.make(ir.Concat((ANY, ir.literal("c"))))
    e = core.both([no_c, ends_in_c])
    assert core.live(e) == EMPTY
    for n in range(10):
        assert has(core.mem, core.after(e, b"a" * n), DEAD)


def test_steps_lead_to_live_states_which_are_paid_for() -> None:
    core = Core(limits=Limits(max_states=5))
    e = core.make(ir.literal("abcdefgh"))
    state = e
    for byte in b"abcd":
        state = core.run(calls.step_one, state, byte)
        assert core.run(calls.step_one, state, ord("z")) == EMPTY
    assert core.mem[STATES] == 5  # the dead one among them
    assert core.run(calls.advance, e, _bytes(b"abcd")) == state
    with pytest.raises(ConstraintLimitExceeded, match="max_states=5"):
        core.run(calls.step_one, state, ord("e"))
    assert core.run(calls.advance, e, _bytes(b"abcd")) == state


def test_searches_are_bounded() -> None:
    """Two letters that differ n apart: about 2^n derivatives until it shows that there is none."""
    core = Core(limits=Limits(max_liveness_steps=100))

    def tail(letter: str) -> ir.Expr:
        return ir.Concat((ANY, ir.literal(letter), ir.Repeat(LETTERS, 12, 12)))

    e = core.make(ir.And((ir.star(LETTERS), tail("a"), tail("b"))))
    for _ in range(2):  # and nothing wrong is remembered
        with pytest.raises(ConstraintLimitExceeded, match="max_liveness_steps=100"):
            core.live(e)


def _bytes(data: bytes) -> object:
    import numpy as np

    return np.frombuffer(data, np.uint8)
