"""Endings that are near, and the components that And's large bounds do not matter to."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, dense_mask, tokens_in

from sestina.backend.grammar import TokenTrie
from sestina.backend.grammar.core import clamp, masks, memory, rests
from sestina.backend.grammar.core.dense import row_of
from sestina.backend.grammar.core.memory import EMPTY
from sestina.backend.grammar.mask_cache import MaskCache
from sestina.lang import grammar_ir as ir

LETTERS = ir.byte_range(97, 99)
WORD = ir.Repeat(LETTERS, 1, None)
SPACE = ir.literal(" ")
FAR = rests.MAX_REST + 1


def shortest(core: Core, e: int) -> int:
    """Bytes of the shortest text, level by level."""
    level = {e}
    for length in range(FAR):
        if any(core.is_nullable(each) for each in level):
            return length
        level = {core.live(core.derivative(each, b)) for each in level for b in b'abc "'} - {EMPTY}
    return FAR


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_rest_is_the_shortest_text(
    shared_core: Core, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    core = shared_core
    before = data.draw(st.sampled_from([0, 1, 3, 30, 32, 40]))
    e = core.state(ir.Concat((ir.Repeat(LETTERS, before, before), data.draw(exprs))))
    if e == EMPTY:
        return
    row = core.run(lambda mem: row_of(mem, core.machine.table, e))
    todo = np.empty(256, np.int64)
    found = core.run(lambda mem: rests.rest(mem, core.machine.table, row, todo))
    assert found == shortest(core, e)


@functools.cache
def shared_masks(trie: TokenTrie) -> tuple[Core, MaskCache]:
    core = Core(1 << 12)
    return core, MaskCache(core.machine, trie, 1 << 22)


def bounded() -> st.SearchStrategy[ir.Expr]:
    """Ands with bounds on either side of what a token and an ending can need."""
    bound = st.integers(1, 6) | st.integers(60, 140)
    words = st.builds(
        lambda n, end: ir.Concat((ir.Repeat(ir.Concat((WORD, SPACE)), 0, n), end)),
        bound,
        st.sampled_from(
            [WORD, ir.EPSILON, ir.Repeat(LETTERS, 30, 34), ir.Repeat(LETTERS, 3, None)]
        ),
    )
    loop = st.builds(
        lambda item, lo, more: ir.Repeat(item, lo, lo + more),
        st.sampled_from([ir.byte_range(32, 126), ir.chars(ir.ANY_CHAR), ir.Alt((LETTERS, SPACE))]),
        st.sampled_from([0, 1, 2, 50, 100]),
        bound,
    )
    # A blank that many letters must follow: more than the loop may have left.
    debt = st.builds(
        lambda n: ir.Concat((WORD, ir.Repeat(ir.Concat((SPACE, ir.Repeat(LETTERS, n, n))), 0, 1))),
        st.integers(90, 110),
    )
    long_loop = st.builds(lambda hi: ir.Repeat(ir.byte_range(32, 126), 0, hi), st.integers(96, 112))
    no_word = st.sampled_from([b"ab", b"abc", b"cab a"]).map(lambda w: ir.Not(ir.Literal(w)))
    return st.builds(
        lambda parts, more: ir.And((*parts, *more)),
        st.tuples(words, loop) | st.tuples(debt, long_loop),
        st.lists(no_word, max_size=1),
    )


@given(
    bounded(),
    st.sampled_from(["", '"', '",', "a"]),
    st.sampled_from([b"", b"a", b"abc", b"ab c", b"ab" * 20]),
)
@settings(deadline=None, max_examples=150)
def test_masks_of_bounded_ands(trie: TokenTrie, node: ir.Expr, end: str, text: bytes) -> None:
    core, cache = shared_masks(trie)
    e = core.live(core.after(core.state(ir.Concat((node, ir.literal(end)))), text))
    if e == EMPTY:
        return
    row = np.zeros(trie.num_words, np.int32)
    cache._run(masks.fill, core.budget, e, row)
    assert tokens_in(row) == dense_mask(core, e, trie.trie)


@pytest.mark.parametrize("owed", [20, 31, 32, 33])
@pytest.mark.parametrize("hi", [64, 83, 84, 85, 94, 95, 96, 97, 98, 120])
def test_bounds_that_only_endings_run_into(trie: TokenTrie, owed: int, hi: int) -> None:
    """The longest token fits the bound, and what must follow it may not."""
    owes = ir.Concat((ir.Repeat(SPACE, 64, 64), ir.Repeat(LETTERS, owed, owed)))
    node = ir.And((ir.Alt((owes, LETTERS)), ir.Repeat(ir.byte_range(32, 126), 0, hi)))
    core, cache = shared_masks(trie)
    e = core.state(node)
    row = np.zeros(trie.num_words, np.int32)
    cache._run(masks.fill, core.budget, e, row)
    assert trie.max_len == 64
    assert (trie.token_bytes.index(b" " * 64) in tokens_in(row)) == (64 + owed <= hi)
    assert tokens_in(row) == dense_mask(core, e, trie.trie)


@pytest.mark.parametrize("hi", [97, 100, 101, 102])
def test_the_last_byte_of_a_token_may_lead_far(trie: TokenTrie, hi: int) -> None:
    """Nothing is below that node, so that all that is there leads back to its row."""
    owes = ir.Concat((ir.literal(" a"), ir.Repeat(LETTERS, 100, 100)))
    node = ir.And((ir.Alt((SPACE, owes)), ir.Repeat(ir.byte_range(32, 126), 0, hi)))
    core, cache = shared_masks(trie)
    e = core.state(ir.Concat((node, ir.literal('"'))))
    row = np.zeros(trie.num_words, np.int32)
    cache._run(masks.fill, core.budget, e, row)
    assert (trie.token_bytes.index(b" a") in tokens_in(row)) == (hi >= 102)


@given(bounded(), st.integers(0, 80), st.data())
@settings(deadline=None, max_examples=100)
def test_loosened_has_the_same_short_texts(
    shared_core: Core, node: ir.Expr, max_len: int, data: st.DataObject
) -> None:
    core = shared_core
    e = core.state(node)
    if core.kind(e) != memory.AND:
        return
    looser = core.run(clamp.loosened, e, max_len)
    text = data.draw(st.text("abc ", max_size=100)).encode()
    if len(text) <= max_len:
        assert core.accepts(e, text) == core.accepts(looser, text)
    else:
        assert core.accepts(looser, text) or not core.accepts(e, text)
