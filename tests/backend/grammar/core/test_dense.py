"""Rows of the dense table against steps of the automaton, for every byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core

from sestina.backend.grammar.core import calls, dense
from sestina.backend.grammar.core.memory import EMPTY, NUM_BYTES, OK, STATES, STATUS, TABLE_FULL
from sestina.lang import grammar_ir as ir


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_rows_are_steps(exprs: st.SearchStrategy[ir.Expr], data: st.DataObject) -> None:
    core = Core(64)
    e = core.state(data.draw(exprs))
    if e == EMPTY:
        return
    table = dense.new_table(200)
    todo, done = [int(dense.row_of(core.mem, table, e))], set()
    while todo and len(done) < 5:
        row = todo.pop()
        done.add(row)
        state = int(table[row, dense.EXPR])
        assert table[row, dense.ACCEPTING] == core.is_nullable(state)
        for byte in range(NUM_BYTES):
            after = int(dense.after(core.mem, table, row, byte))
            if core.mem[STATUS] != OK:
                core.machine.recover(int(core.mem[STATUS]), core.budget)
                after = int(dense.after(core.mem, table, row, byte))
            expected = core.run(calls.step_one, state, byte)
            assert (int(table[after, dense.EXPR]) if after else EMPTY) == expected
            if after and after not in done:
                todo.append(after)


def test_the_dead_row_leads_nowhere() -> None:
    table = dense.new_table(4)
    core = Core()
    assert dense.row_of(core.mem, table, EMPTY) == dense.DEAD_ROW
    assert {int(dense.after(core.mem, table, dense.DEAD_ROW, b)) for b in range(256)} == {0}


def test_a_full_table_asks_for_room_and_keeps_its_rows(core: Core) -> None:
    e = core.literal(b"abcdef")
    table = dense.new_table(3)
    row = dense.row_of(core.mem, table, e)
    second = dense.after(core.mem, table, row, ord("a"))
    assert core.mem[STATUS] == OK
    assert dense.after(core.mem, table, second, ord("b")) <= 0
    assert core.mem[STATUS] == TABLE_FULL
    core.mem[STATUS] = OK
    larger = dense.new_table(8)
    larger[:3] = table
    third = dense.after(core.mem, larger, second, ord("b"))
    assert larger[third, dense.EXPR] == core.literal(b"cdef")
    assert core.mem[STATES] == 3 + 1


@pytest.mark.parametrize(
    ("node", "is_state"),
    [
        (ir.star(ir.byte_range(32, 126)), True),
        (ir.Repeat(ir.chars(ir.ANY_CHAR), 2, 70), True),
        (ir.star(ir.byte_range(48, 57)), False),  # ten bytes
        (ir.star(ir.Concat((ir.literal("a"), ir.byte_range(32, 126)))), False),
        (ir.star(ir.Repeat(ir.byte_range(32, 126), 1, 9)), False),  # large inner loops
        (ir.Not(ir.literal("ab")), True),
        (ir.And((ir.star(ir.literal("ab")), ir.Not(ir.literal("ab")))), True),
        (ir.literal("abc"), False),
        (ir.byte_range(0, 255), False),
    ],
)
def test_what_is_walked_as_an_automaton(core: Core, node: ir.Expr, is_state: bool) -> None:
    e = core.make(node)
    assert bool(core.run(dense.is_state, e)) == is_state
    assert bool(core.run(dense.is_state, e)) == is_state  # as remembered
