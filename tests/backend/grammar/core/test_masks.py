"""Masks put together from components against the plain walk of the automaton's dense rows.

`fill_token_mask` over a byte map, dense transitions and the flat trie is the plain twin of all that
the core does to be faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.core import Core, dense_mask, tokens_in

from sestina.backend.grammar import TokenTrie
from sestina.backend.grammar.core import components, masks, memory
from sestina.backend.grammar.core.memory import COMPONENTS_FULL, EMPTY, NUM_COMPONENTS
from sestina.backend.grammar.core.walks import NODE_BITS, Walk
from sestina.backend.grammar.mask_cache import MaskCache
from sestina.kernels.token_mask import Trie
from sestina.lang import grammar_ir as ir

PRINTABLE = ir.byte_range(32, 126)
CHARS = ir.chars(ir.ANY_CHAR)
QUOTE = ir.literal('"')


class Masks:
    """Masks over the small vocabulary, by way of components and by the plain walk."""

    def __init__(self, trie: TokenTrie, max_bytes: int = 1 << 20) -> None:
        self.core = Core(1 << 12)
        self.trie = trie
        self.cache = MaskCache(self.core.machine, trie, max_bytes)

    def state(self, node: ir.Expr) -> int:
        return self.core.state(node)

    def filled(self, function: masks.Fill, *args: object) -> set[int]:
        row = np.zeros(self.trie.num_words, np.int32)
        self.cache._run(function, self.core.budget, *args, row)
        return tokens_in(row)

    def plain(self, e: int) -> set[int]:
        return dense_mask(self.core, e, self.trie.trie)

    def component(self, head: int) -> tuple[set[int], set[int]]:
        """The tokens that a head allows by itself, and where a tail could go on."""
        number = -1

        def make(*walk: Any) -> None:
            nonlocal number
            number = components.component(Walk(*walk), head)

        self.cache._run(make, self.core.budget)
        start, stop = self.cache._spans[number, :2]
        entries = self.cache._pool[start:stop]
        assert (np.diff(entries) > 0).all()
        nodes = (entries & ((1 << NODE_BITS) - 1)).tolist()
        assert (entries >> NODE_BITS).tolist() == self.trie.trie.byte[nodes].tolist()
        return tokens_in(self.cache._rows[number]), set(nodes)


@pytest.fixture(scope="module")
def shared(trie: TokenTrie) -> Masks:
    return Masks(trie)


def loops() -> st.SearchStrategy[ir.Expr]:
    """Heads that become components: wide loops, counted ones, and such loops but for some words."""
    loop = st.builds(
        lambda item, lo, more: ir.Repeat(item, lo, None if more is None else lo + more),
        st.sampled_from([PRINTABLE, CHARS, ir.byte_range(97, 122)]),
        st.integers(0, 3),
        st.none() | st.integers(0, 40),
    )
    texts = st.sampled_from([b"a", b"ab", b"name", b"abc", b'"', b"true", b"aa"])
    word = texts.map(ir.Literal)
    ends = st.sampled_from([QUOTE, ir.literal("c"), ir.EPSILON])
    words = st.lists(word, min_size=1, max_size=3).map(tuple).map(ir.Alt)
    but = st.builds(
        lambda loop, some, end: ir.And((ir.Concat((loop, end)), ir.Not(ir.Concat((some, end))))),
        loop,
        words | loop,
        ends,
    )
    return loop | but


@given(loops(), loops() | st.sampled_from([QUOTE, ir.EPSILON, ir.literal('": "')]))
@settings(deadline=None, max_examples=60)
def test_head_and_tail(shared: Masks, head: ir.Expr, tail: ir.Expr) -> None:
    for node in (ir.Concat((head, tail)), ir.Alt((head, tail)), ir.Concat((QUOTE, head, tail))):
        e = shared.state(node)
        if e != EMPTY:
            expected = shared.plain(e)
            assert shared.filled(masks.fill, e) == expected
            assert shared.filled(masks.fill_dense, e) == expected


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_random_expressions(
    shared: Masks, exprs: st.SearchStrategy[ir.Expr], data: st.DataObject
) -> None:
    e = shared.state(ir.Concat((data.draw(exprs), data.draw(loops() | exprs))))
    if e != EMPTY:
        assert shared.filled(masks.fill, e) == shared.plain(e)


@given(loops())
@settings(deadline=None, max_examples=60)
def test_what_a_component_is(trie: TokenTrie, shared: Masks, node: ir.Expr) -> None:
    """The tokens that begin a text of the head; and the nodes below a text of it, wherever
    a token below is not allowed already."""
    core, head = shared.core, shared.state(node)
    if head == EMPTY or core.kind(head) not in (memory.REPEAT, memory.AND):
        return
    allowed, entries = shared.component(head)
    assert allowed == shared.plain(head)
    paths = _paths(trie.trie)
    ended = {n for n, path in paths.items() if len(path) > 1 and core.accepts(head, path[:-1])}
    needed = {n for n in ended if not _ids_below(trie.trie, n) <= allowed}
    assert needed <= entries <= ended


@given(loops(), st.sampled_from([b"ab", b'"', b"name", b"zz", b"a" * 35]))
@settings(deadline=None, max_examples=30)
def test_tokens_past_a_prefix(trie: TokenTrie, shared: Masks, node: ir.Expr, prefix: bytes) -> None:
    e = shared.state(node)
    if e == EMPTY:
        return
    expected = {
        i
        for i, data in enumerate(trie.token_bytes)
        if len(data) > len(prefix)
        and data.startswith(prefix)
        and shared.core.live(shared.core.after(e, data[len(prefix) :])) != EMPTY
    }
    assert shared.filled(masks.fill_past, np.frombuffer(prefix, np.uint8), e) == expected


@pytest.mark.parametrize("word", ["a", "name", "ab", '"a'])
def test_narrowed_is_as_if_walked_alone(trie: TokenTrie, word: str) -> None:
    """The component of A & ~B is mended from that of A, unless B could be anywhere."""
    plain = ir.Concat((ir.star(PRINTABLE), QUOTE))
    but = ir.And((plain, ir.Not(ir.Concat((ir.literal(word), QUOTE)))))
    never = ir.Not(ir.Concat((ir.byte_range(0, 255), ir.literal("\0"))))
    mended, walked = Masks(trie), Masks(trie)
    rows_before = int(mended.core.mem[memory.NUM_DENSE])
    mended.component(mended.state(plain))
    rows_of_plain = int(mended.core.mem[memory.NUM_DENSE])
    allowed, entries = mended.component(mended.state(but))
    assert mended.core.mem[memory.NUM_DENSE] == rows_of_plain > rows_before
    other = walked.component(walked.state(ir.And((but, never))))  # the same texts in another way
    assert walked.core.mem[memory.NUM_DENSE] > 0
    assert allowed == other[0]
    assert other[1] <= entries


def many_loops(num: int) -> ir.Expr:
    """Loops that each begin a part of the mask."""
    every = (1 << 256) - 1
    others = (ir.ByteSet(every & ~(1 << byte)) for byte in range(40, 40 + num))
    return ir.Alt(tuple(ir.Concat((ir.star(each), ir.literal("\n"))) for each in others))


def test_components_are_forgotten_when_they_fill_their_share(trie: TokenTrie) -> None:
    small = Masks(trie, max_bytes=20 * 4 * (trie.num_words + 4))
    for num in (10, 12, 14, 16):
        e = small.state(ir.Concat((ir.literal(chr(num)), many_loops(num))))
        assert small.filled(masks.fill, e) == small.plain(e)
        after = small.core.live(small.core.after(e, bytes([num])))
        assert small.filled(masks.fill, after) == small.plain(after)
    more = small.state(ir.Repeat(ir.byte_range(1, 100), 2, None))
    assert small.filled(masks.fill, more) == small.plain(more)


def test_one_mask_may_need_more_than_its_share(trie: TokenTrie) -> None:
    small = Masks(trie, max_bytes=1)
    e = small.state(many_loops(40))
    assert small.filled(masks.fill, e) == small.plain(e)
    assert COMPONENTS_FULL in small.core.statuses
    assert small.core.mem[NUM_COMPONENTS] == 40


def test_tail_with_more_beginnings_than_there_is_room_for(trie: TokenTrie, shared: Masks) -> None:
    """What it may read first is not known then: all entries are walked."""
    several = (ir.Repeat(ir.literal("é"), 1, k) for k in range(2, 17_000))
    ends = (ir.Concat((some, ir.Literal(b"%d!" % k))) for k, some in enumerate(several))
    e = shared.state(ir.Concat((ir.star(ir.byte_range(97, 122)), ir.Alt(tuple(ends)))))
    expected = shared.filled(masks.fill_dense, e)
    assert trie.token_bytes.index("aé".encode()) in expected
    assert shared.filled(masks.fill, e) == expected


def _paths(trie: Trie) -> dict[int, bytes]:
    """What each node spells."""
    out: dict[int, bytes] = {}
    path = bytearray(trie.max_depth)
    for node in range(len(trie.byte)):
        path[trie.depth[node]] = trie.byte[node]
        out[node] = bytes(path[: trie.depth[node] + 1])
    return out


def _ids_below(trie: Trie, node: int) -> set[int]:
    ids: NDArray[np.int32] = trie.token_ids[
        trie.token_start[node] : trie.token_start[trie.end[node]]
    ]
    return set(ids.tolist())
