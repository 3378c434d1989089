"""The trie and its walk: numba against plain Python against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sestina.kernels.token_mask import (
    Trie,
    build_trie,
    fill_token_mask,
    reference,
)

TOKENS = st.lists(st.binary(min_size=1, max_size=5).map(lambda b: bytes(x % 3 for x in b)))


def numbered(tokens: list[bytes]) -> list[tuple[bytes, int]]:
    return [(data, 3 * i) for i, data in enumerate(tokens)]


@given(TOKENS)
@settings(deadline=None)
def test_trie_spells_its_tokens(tokens: list[bytes]) -> None:
    trie = build_trie(numbered(tokens))
    assert reference.spellings(trie) == {i: data for data, i in numbered(tokens)}
    assert len(trie.byte) == len({data[:n] for data in tokens for n in range(1, len(data) + 1)})
    assert trie.max_depth == max(map(len, tokens), default=0)


def walk(
    fill: object, trie: Trie, tables: list[NDArray[np.int32]], state: int
) -> tuple[NDArray[np.int32], list[list[tuple[int, int]]]]:
    """Run with each table in turn, going on from what the one before lacked."""
    assert callable(fill)
    row = np.zeros(20, np.int32)
    nodes, states = trie.roots, np.full(len(trie.roots), state, np.int32)
    pendings = []
    for table in tables:
        nodes, states = fill(trie, table, np.arange(256).astype(np.uint8) % 3, nodes, states, row)
        pendings.append(list(zip(nodes.tolist(), states.tolist(), strict=True)))
    return row, pendings


@given(TOKENS.filter(lambda t: len(t) < 200), st.integers(1, 4), st.data())
@settings(deadline=None)
def test_walk_and_resume(tokens: list[bytes], state: int, data: st.DataObject) -> None:
    trie = build_trie(numbered(tokens))
    rows = st.lists(st.integers(0, 4), min_size=3, max_size=3)
    full = np.array([[0, 0, 0], *data.draw(st.lists(rows, min_size=4, max_size=4))], np.int32)
    known = data.draw(st.sets(st.integers(1, 4)))
    partial = full.copy()
    partial[[s for s in range(1, 5) if s not in known]] = -1

    row, pendings = walk(fill_token_mask, trie, [partial, full], state)
    expected_row, expected_pendings = walk(reference.fill, trie, [partial, full], state)
    assert row.tolist() == expected_row.tolist()
    assert pendings == expected_pendings
    assert pendings[-1] == []
    assert {s for _, s in pendings[0]}.isdisjoint(known)

    for token, token_id in numbered(tokens):
        at = state
        for byte in token:
            at = int(full[at, byte])
        assert bool(row[token_id // 32] >> (token_id % 32) & 1) == (at > 0)


def test_a_token_without_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="without bytes"):
        build_trie([(b"", 0)])
