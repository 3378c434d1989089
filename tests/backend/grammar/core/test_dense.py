"""Rows of the dense table against steps of the automaton, for every byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core

from sestina.backend.grammar.core import calls, dense, memory
from sestina.backend.grammar.core.memory import EMPTY, NUM_BYTES, OK, STATES, STATUS, TABLE_FULL
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintLimitExceeded


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


def test_a_row_is_whole_or_not_there() -> None:
    """The limit is passed at each place: what it had not come to is told when it is asked again."""
    words = ir.Repeat(ir.Concat((ir.Repeat(ir.byte_range(97, 99), 1, None), ir.literal(" "))), 0, 9)
    pairs = ir.Repeat(ir.Concat((ir.byte_range(32, 126), ir.byte_range(32, 126))), 1, 7)
    node = ir.And((ir.Concat((words, ir.byte_range(97, 99))), pairs))

    def filled(core: Core, text: bytes, expressions: int) -> tuple[list[int], bool]:
        """What is told of the row after a text, and whether the limit was passed at first."""
        e = core.live(core.after(core.state(node), text))
        row = core.run(lambda mem: dense.row_of(mem, core.machine.table, e))
        core.mem[memory.MAX_EXPRESSIONS] = core.mem[memory.EXPRESSIONS] + expressions
        passed = False
        try:
            core.run(lambda mem: dense.after(mem, core.machine.table, row, 97))
        except ConstraintLimitExceeded:
            passed = True
            core.mem[memory.MAX_EXPRESSIONS] = memory.LONG
            core.run(lambda mem: dense.after(mem, core.machine.table, row, 97))
        return core.machine.table[row, [dense.LOOPS, dense.SLACK]].tolist(), passed

    for text in (b"ab ", b"ab a", b"abc"):
        expected, _ = filled(Core(), text, 1000)
        for expressions in range(100):
            found, passed = filled(Core(), text, expressions)
            assert found == expected
            if not passed:
                break
        assert 0 < expressions < 99


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
