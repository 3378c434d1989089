"""One component for all bounds of a loop, against what each bound allows by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Core, dense_mask, tokens_in

from sestina.backend.grammar import TokenTrie
from sestina.backend.grammar.core import counted, masks, memory
from sestina.backend.grammar.core.components import NO_COMPONENT
from sestina.backend.grammar.core.memory import EMPTY
from sestina.backend.grammar.core.walks import NODE_BITS, Walk
from sestina.backend.grammar.mask_cache import MaskCache
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang import grammar_ir as ir

MERGES = (
    *(b"ab", b"abc", b"name", b"aa", b"aaab", b"bb0", b"abab0", b"bcaaa0", b"aaaa0", b"a\xa9"),
    *(b'a"', b'ab"', b'abc",', b'aaab", "', b'"a', b'": "', b'\\""', b'a\\", "', b"\xe2\x82"),
    *('é"'.encode(), 'aé":'.encode(), b"a\xc3", b'\xa9"', b"a" * 40, b"ab" * 30 + b'"', b" " * 64),
)
QUOTE = ir.literal('"')
CODES = {
    "letters": ir.byte_range(97, 122),
    "characters": ir.chars(ir.ANY_CHAR),
    "json characters": ir.Alt(
        (ir.chars([(32, 33), (35, 91), (93, 0x10FFFF)]), ir.Concat((ir.literal("\\"), QUOTE)))
    ),
    "pairs": ir.Concat((ir.byte_range(97, 122), ir.byte_range(97, 122))),
    "one or three": ir.Alt((ir.byte_range(98, 122), ir.Literal(b"aaa"))),
}
NO_CODES = {
    "one or two": ir.Alt((ir.byte_range(97, 122), ir.Literal(b"ab"))),
    "some": ir.Concat((ir.byte_range(97, 122), ir.Repeat(ir.byte_range(97, 122), 0, 3))),
}


class Counted:
    def __init__(self, trie: TokenTrie) -> None:
        self.core = Core(1 << 12)
        self.trie = trie
        self.cache = MaskCache(self.core.machine, trie, 1 << 22)

    def ask(self, function: Any, *args: Any) -> Any:
        """What a function says about a walk, after as many tries as it needs."""
        said: list[Any] = []
        self.cache._run(lambda *walk: said.append(function(Walk(*walk), *args)), self.core.budget)
        return said[-1]

    def number(self, head: ir.Expr, tail: ir.Expr = ir.EPSILON) -> int:
        e, after = self.core.state(head), self.core.state(tail)
        number: int = self.ask(counted.counted_component, e, after)
        return number

    def tokens(self, number: int, hi: int) -> set[int]:
        row = np.zeros(self.trie.num_words, np.int32)
        self.ask(counted.add_counted, number, hi, row)
        return tokens_in(row)

    def fill(self, e: int) -> set[int]:
        row = np.zeros(self.trie.num_words, np.int32)
        self.cache._run(masks.fill, self.core.budget, e, row)
        return tokens_in(row)


@pytest.fixture(scope="module")
def shared(make_tokenizer: Callable[..., Tokenizer]) -> Counted:
    return Counted(TokenTrie.from_tokenizer(make_tokenizer(MERGES)))


@pytest.mark.parametrize("name", CODES)
def test_tokens_by_what_they_begin(shared: Counted, name: str) -> None:
    """The tokens of item{0,hi}, from one component for all hi."""
    item = CODES[name]
    number = shared.number(ir.Repeat(item, 0, 3))
    for hi in (1, 2, 3, 5, 20, 90):
        alone = shared.core.state(ir.Repeat(item, 0, hi))
        assert shared.tokens(number, hi) == dense_mask(shared.core, alone, shared.trie.trie)
        assert shared.number(ir.Repeat(item, 0, hi)) == number
    every = dense_mask(shared.core, shared.core.state(ir.star(item)), shared.trie.trie)
    assert shared.tokens(number, -1) == shared.tokens(number, memory.LONG) == every


@pytest.mark.parametrize("name", CODES)
def test_entries_are_where_no_item_goes_on(shared: Counted, name: str) -> None:
    """Nodes below copies of the item, with how many, whose own byte begins no other."""
    item, core, trie = CODES[name], shared.core, shared.trie.trie
    start, stop, most, _ = shared.cache._spans[shared.number(ir.Repeat(item, 0, 3))]
    entries = shared.cache._pool[start:stop]
    assert most > 0
    assert (np.diff(entries) > 0).all()
    nodes = (entries & ((1 << NODE_BITS) - 1)).tolist()
    found = dict(zip(nodes, shared.cache._pool[stop : 2 * stop - start].tolist(), strict=True))
    loop = core.state(ir.star(item))
    path, expected = bytearray(trie.max_depth), {}
    for node in range(len(trie.byte)):
        path[trie.depth[node]] = trie.byte[node]
        text = bytes(path[: trie.depth[node] + 1])
        if core.after(loop, text) == EMPTY and core.after(loop, text[:-1]) == loop and text[1:]:
            expected[node] = next(
                copies
                for copies in range(len(text))
                if core.accepts(core.state(ir.Repeat(item, copies, copies)), text[:-1])
            )
    assert found == expected != {}


@pytest.mark.parametrize("name", NO_CODES)
def test_none_where_a_text_of_the_item_begins_another(shared: Counted, name: str) -> None:
    for _ in range(2):
        assert shared.number(ir.Repeat(NO_CODES[name], 0, 5)) == NO_COMPONENT


def test_none_where_the_tail_could_begin_as_the_item(shared: Counted) -> None:
    head = ir.Repeat(CODES["letters"], 0, 5)
    assert shared.number(head, ir.literal("a")) == NO_COMPONENT
    assert shared.number(head, ir.literal("0")) != NO_COMPONENT


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("is_first", [True, False])
def test_an_item_may_have_a_component_itself(shared: Counted, name: str, is_first: bool) -> None:
    """As what `item & ~word` is mended from: its own tokens are not those of loops over it."""
    item, ours = CODES[name], Counted(shared.trie)
    mended = ir.And((item, ir.Not(ir.Literal(b"bb"))))
    nodes = [ir.Concat((mended, QUOTE)), ir.Concat((ir.Repeat(item, 0, 5), QUOTE))]
    for node in nodes if is_first else reversed(nodes):
        e = ours.core.state(node)
        assert ours.fill(e) == dense_mask(ours.core, e, ours.trie.trie)


def test_more_tokens_than_nodes(make_tokenizer: Callable[..., Tokenizer]) -> None:
    """One spelling may be many tokens'."""
    many = Counted(TokenTrie.from_tokenizer(make_tokenizer((b"ab", b"ab1") * 2000)))
    assert len(many.trie.trie.token_ids) > len(many.trie.trie.byte)
    for item in (CODES["letters"], CODES["characters"]):
        e = many.core.state(ir.Concat((ir.Repeat(item, 0, 2), QUOTE)))
        assert many.fill(e) == dense_mask(many.core, e, many.trie.trie)


def test_copies_of_an_item_that_is_a_loop(shared: Counted) -> None:
    """(x{0,8})* is x*, so that its items are others."""
    e = shared.core.state(ir.Repeat(ir.Repeat(CODES["letters"], 0, 8), 0, 6))
    assert shared.trie.token_bytes.index(b"a" * 40) in shared.fill(e)
    assert shared.fill(e) == dense_mask(shared.core, e, shared.trie.trie)


def test_what_is_counted(shared: Counted) -> None:
    letters = CODES["letters"]
    asked = {(0, None): False, (1, None): False, (2, None): True, (0, 5): True, (2, 5): True}
    for (lo, hi), expected in asked.items():
        e = shared.core.state(ir.Repeat(letters, lo, hi))
        assert counted.is_counted(shared.core.mem, e) == expected


@given(
    st.sampled_from([*CODES.values(), *NO_CODES.values()]),
    st.integers(0, 40),
    st.none() | st.integers(0, 60),
    st.sampled_from([QUOTE, ir.EPSILON, ir.literal("abc"), ir.literal('", "'), ir.literal("é")]),
)
@settings(deadline=None, max_examples=150)
def test_masks(shared: Counted, item: ir.Expr, lo: int, more: int | None, tail: ir.Expr) -> None:
    e = shared.core.state(
        ir.Concat((ir.Repeat(item, lo, None if more is None else lo + more), tail))
    )
    if e != EMPTY:
        assert shared.fill(e) == dense_mask(shared.core, e, shared.trie.trie)
