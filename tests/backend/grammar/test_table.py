"""Tables and graphs of automata: what they say is what stepping says."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.grammar import DEAD, Limits, compile_automaton
from sestina.backend.grammar.table import byte_set, dot, expand, ranges, table
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import regex
from sestina.lang.errors import UnsatisfiableConstraint

MASKS = st.one_of(
    st.sets(st.integers(0, 255), min_size=1).map(lambda some: sum(1 << byte for byte in some)),
    st.tuples(st.integers(0, 255), st.integers(0, 255)).map(
        lambda ends: ir.byte_range(min(ends), max(ends)).mask
    ),
)


@given(MASKS)
def test_a_set_of_bytes_is_written_as_a_regex_that_matches_it(mask: int) -> None:
    written = byte_set(mask)
    plain = len(written) == 1 and written != "."
    pattern = re.compile((re.escape(written) if plain else written).encode(), re.DOTALL)
    assert [pattern.fullmatch(bytes([byte])) is not None for byte in range(256)] == [
        bool(mask >> byte & 1) for byte in range(256)
    ]


@given(MASKS)
def test_ranges_are_apart_and_cover_the_mask(mask: int) -> None:
    found = list(ranges(mask))
    assert sum(ir.byte_range(lo, hi).mask for lo, hi in found) == mask
    assert all(hi + 1 < lo for (_, hi), (lo, _) in itertools.pairwise(found))


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_rows_say_what_stepping_says(
    exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    try:
        automaton = compile_automaton(ir.Grammar(data.draw(exprs)))
    except UnsatisfiableConstraint:
        return
    expansion = expand(automaton, 12)
    reached = {automaton.start}
    for row in expansion.rows:
        assert row.state in reached
        assert row.is_accepting == automaton.is_accepting(row.state)
        for byte in range(256):
            by_table = [t for t, mask in row.targets.items() if mask >> byte & 1] or [DEAD]
            assert by_table == [automaton.step(row.state, byte)]
        reached |= row.targets.keys()
    assert len(reached) == len(expansion.rows) + expansion.num_pending
    assert expansion.num_pending == 0 or len(expansion.rows) == 12


def test_a_table() -> None:
    automaton = compile_automaton(regex("ab|a[cd]+|[.]").to_grammar())
    start, end, mid, loop = (
        str(automaton.advance(automaton.start, text)) for text in (b"", b".", b"a", b"ac")
    )
    first, *lines, last = table(automaton).splitlines()
    assert first.split() == ["state", "on", "goes", "to"]
    assert [line.split() for line in lines] == [
        [">", start, "\\.", end],
        ["a", mid],
        ["*", end],
        [mid, "b", end],
        ["[cd]", loop],
        ["*", loop, "[cd]", loop],
    ]
    assert last == "4 states"


def test_what_a_table_leaves_out_is_told() -> None:
    automaton = compile_automaton(regex("[a-z]{9}").to_grammar())
    assert table(automaton, max_states=3).endswith(
        "3 states, 1 more that they lead to are not shown"
    )
    limited = compile_automaton(regex("[a-z]{9}").to_grammar(), Limits(max_states=4))
    assert "max_states=4" in table(limited).splitlines()[-1]


def test_an_automaton_that_accepts_at_once() -> None:
    automaton = compile_automaton(ir.Grammar(ir.EPSILON))
    assert table(automaton).splitlines()[1].split() == [">*", str(automaton.start)]


@pytest.mark.parametrize(
    ("max_states", "labels"), [(1, {r'"\""', '"c"'}), (40, {r'"\""', '"c"', r'"\\\\"', '"x"'})]
)
def test_a_graph(max_states: int, labels: set[str]) -> None:
    automaton = compile_automaton(regex(r'"\\x|c').to_grammar())
    lines = dot(automaton, max_states=max_states).splitlines()
    assert (lines[0], lines[-1]) == ("digraph automaton {", "}")
    assert {re.sub(r".*label=|\];$", "", line) for line in lines if "label" in line} == labels
    is_whole = max_states == 40
    assert ("style=dashed" in "".join(lines)) == (not is_whole)
    assert ("doublecircle" in "".join(lines)) == is_whole
