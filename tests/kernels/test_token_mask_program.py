"""The walks of programs and of components: numba against plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sestina.kernels.token_mask import (
    Program,
    build_trie,
    entry_nodes,
    fill_component_difference,
    fill_component_mask,
    fill_program_mask,
    fill_token_mask,
    reference,
)
from sestina.kernels.token_mask import program as ops

NUM_STATES = 4
TOKENS = st.lists(st.binary(min_size=1, max_size=6).map(lambda b: bytes(x % 3 for x in b)))
ALL_BYTES = np.arange(256).astype(np.uint8)


@st.composite
def tables(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """An automaton over the bytes 0 to 2 whose live states all lead to acceptance."""
    table = np.zeros((NUM_STATES + 1, 256), np.int32)
    rows = st.lists(st.integers(0, NUM_STATES), min_size=3, max_size=3)
    for state in range(1, NUM_STATES + 1):
        table[state, :3] = draw(rows)
    return table, np.array([0] + [1] * NUM_STATES, np.uint8)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A few expressions, each made of earlier ones, and one rule that contains itself."""
    table, accepting = draw(tables())
    pool: list[int] = []
    code: list[tuple[int, int, int, int]] = [(ops.EPSILON, 0, 0, 0)]
    empty = [True]

    def add(row: tuple[int, int, int, int], may_be_empty: bool) -> None:
        code.append(row)
        empty.append(may_be_empty)

    for _ in range(draw(st.integers(1, 9))):
        kind = draw(
            st.sampled_from([ops.SET, ops.LITERAL, ops.CAT, ops.ALT, ops.REPEAT, ops.STATE])
        )
        some = st.integers(0, len(code) - 1)
        if kind == ops.SET:
            add((kind, len(pool), 0, 0), False)
            pool += [draw(st.integers(1, 7)), *[0] * 7]
        elif kind == ops.LITERAL:
            data = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
            add((kind, len(pool), len(data), 0), False)
            pool += data
        elif kind == ops.CAT:
            first, then = draw(some), draw(some)
            add((kind, first, then, 0), empty[first] and empty[then])
        elif kind == ops.ALT:
            parts = draw(st.lists(some, min_size=1, max_size=3))
            add((kind, len(pool), len(parts), 0), any(empty[part] for part in parts))
            pool += parts
        elif kind == ops.REPEAT:
            item = draw(some)
            lo = 0 if empty[item] else draw(st.integers(0, 2))
            hi = draw(st.none() | st.integers(max(lo, 1), lo + 3))
            add((kind, item, lo, -1 if hi is None else hi), lo == 0)
        else:
            add((kind, draw(st.integers(1, NUM_STATES)), 0, 0), True)
    # rule -> one byte, the last expression, rule again or nothing, one byte
    last, rule = len(code) - 1, len(code)
    code += [
        (ops.RULE, rule + 4, 0, 0),
        (ops.SET, len(pool), 0, 0),
        (ops.REPEAT, rule, 0, 1),
        (ops.CAT, rule + 2, rule + 1, 0),
        (ops.CAT, rule + 1, rule + 5, 0),
        (ops.CAT, last, rule + 3, 0),
    ]
    pool += [draw(st.integers(1, 7)), *[0] * 7]
    return Program(np.array(code, np.int32), np.array(pool, np.int32), table, accepting)


def tokens_in(row: NDArray[np.int32]) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist())


@given(TOKENS.filter(lambda t: len(t) < 300), programs(), st.data())
@settings(deadline=None, max_examples=300)
def test_program_walk(tokens: list[bytes], code: Program, data: st.DataObject) -> None:
    trie = build_trie([(token, i) for i, token in enumerate(tokens)])
    starts = data.draw(st.lists(st.integers(0, len(code.code) - 1), min_size=1, max_size=3))
    row = np.zeros(10, np.int32)
    found = fill_program_mask(
        trie, code, trie.roots, np.array(starts, np.int32), row, with_exits=True
    )
    assert found is not None
    exits, unknown = found
    assert not len(unknown)
    assert tokens_in(row) == reference.program_tokens(trie, code, starts)
    spelled = set(map(bytes, reference.node_paths(trie, exits)))
    assert len(spelled) == len(exits)
    assert spelled == reference.program_exits(trie, code, starts)


@given(TOKENS.filter(lambda t: len(t) < 300), programs(), st.data())
@settings(deadline=None, max_examples=50)
def test_program_walk_names_what_it_lacks(
    tokens: list[bytes], code: Program, data: st.DataObject
) -> None:
    trie = build_trie([(token, i) for i, token in enumerate(tokens)])
    start = np.array([data.draw(st.integers(0, len(code.code) - 1))], np.int32)
    missing = sorted(data.draw(st.sets(st.integers(1, NUM_STATES))))
    partial = code._replace(table=code.table.copy(), code=code.code.copy())
    partial.table[missing] = -1
    late = np.flatnonzero(code.code[:, 0] == ops.STATE)
    partial.code[late, 1] = ~late
    row = np.zeros(10, np.int32)
    while True:
        found = fill_program_mask(trie, partial, trie.roots, start, row)
        assert found is not None
        if not len(found[1]):
            break
        for each in found[1].tolist():
            if each < 0:
                partial.code[~each] = code.code[~each]
            else:
                partial.table[each] = code.table[each]
    assert tokens_in(row) == reference.program_tokens(trie, code, start.tolist())


def test_program_walk_outgrows_its_room() -> None:
    trie = build_trie([(b"\0", 0)])
    count = 20_000
    code = np.zeros((count + 1, ops.NUM_FIELDS), np.int32)
    code[:count] = (ops.LITERAL, 0, 1, 0)
    code[count] = (ops.ALT, 1, count, 0)
    pool = np.arange(-1, count, dtype=np.int32)
    pool[0] = 0
    program = Program(code, pool, np.zeros((1, 256), np.int32), np.zeros(1, np.uint8))
    row = np.zeros(1, np.int32)
    assert fill_program_mask(trie, program, trie.roots, np.array([count], np.int32), row) is None


@given(TOKENS.filter(lambda t: len(t) < 300), tables(), st.data())
@settings(deadline=None, max_examples=200)
def test_components(
    tokens: list[bytes],
    automaton: tuple[NDArray[np.int32], NDArray[np.uint8]],
    data: st.DataObject,
) -> None:
    trie = build_trie([(token, i) for i, token in enumerate(tokens)])
    table, accepting = automaton
    accepting = accepting.copy()
    accepting[data.draw(st.sets(st.integers(1, NUM_STATES)).map(sorted))] = 0
    state, base = data.draw(st.integers(1, NUM_STATES)), data.draw(st.integers(1, NUM_STATES))

    def plain(start: int) -> NDArray[np.int32]:
        row = np.zeros(10, np.int32)
        starts = np.full(len(trie.roots), start, np.int32)
        fill_token_mask(trie, table, ALL_BYTES, trie.roots, starts, row)
        return row

    def entries_of(start: int, row: NDArray[np.int32]) -> set[int]:
        program = Program(np.array([(ops.STATE, start, 0, 0)], np.int32), row, table, accepting)
        found = fill_program_mask(
            trie, program, trie.roots, np.zeros(1, np.int32), row.copy(), with_exits=True
        )
        assert found is not None
        return set(entry_nodes(trie, found[0], row).tolist())

    row = np.zeros(10, np.int32)
    entries = fill_component_mask(trie, table, accepting, state, row)
    assert entries is not None
    assert row.tolist() == plain(state).tolist()
    assert sorted(entries.tolist()) == sorted(entries_of(state, row))

    row = np.zeros(10, np.int32)
    entries = fill_component_mask(trie, table, accepting, base, row)
    assert entries is not None
    gone, new, unknown = fill_component_difference(trie, table, accepting, state, base, row)
    assert not len(unknown)
    assert row.tolist() == plain(state).tolist()
    assert gone.tolist() == sorted(gone.tolist())
    kept = set(entries.tolist()) - set(gone.tolist()) | set(new.tolist())
    exact = entries_of(state, row)
    assert exact <= kept
    # What is kept beyond them has no token below that the row lacks, but stands below an exit.
    every = entries_of(state, np.zeros(10, np.int32))
    assert kept <= every
