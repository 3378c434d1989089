"""A small vocabulary with awkward tokens, and random grammars over a three-letter alphabet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st

from sestina.backend.grammar import TokenTrie
from sestina.lang import grammar_ir as ir

LETTERS = b"abc"

MERGES = (
    *(b"ab", b"bc", b"abc", b"ca", b"aa", b"aaaa", b"cab", b"bb"),
    *(b" a", b"  ", b'":', b'": "', b'"a', b"name", b"na", b"[[", b"],", b"12", b"true"),
    *("é".encode(), "€".encode(), "€".encode()[1:], "😀".encode()[:2], "aé".encode()),
    *(b"a" * 33, b"a" * 40, b"ab" * 30, b" " * 64),
)


@dataclass(frozen=True)
class TinyTokenizer:
    """Bytes, the merges, one spelling twice, an unused id, two control tokens and two eos ids.

    `encode` takes the longest token at each place.
    """

    merges: tuple[bytes, ...] = MERGES
    missing: frozenset[int] = frozenset()
    bos_id: int | None = None
    chat_template: str | None = None

    @property
    def _spelled(self) -> list[bytes]:
        single = [b"" if i in self.missing else bytes([i]) for i in range(256)]
        return [*single, *self.merges, b"ab", b"", b"", b"", b"", b""]

    @property
    def vocab_size(self) -> int:
        return len(self._spelled)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return (self.vocab_size - 1, self.vocab_size - 2)

    @property
    def control_ids(self) -> dict[str, int]:
        last = self.vocab_size
        return {"<eos>": last - 1, "<eot>": last - 2, "<call>": last - 3, "<end>": last - 4}

    @property
    def fingerprint(self) -> str:
        return repr((self.merges, self.missing))

    def token_bytes(self, token_id: int) -> bytes:
        return self._spelled[token_id]

    def encode(self, text: str, *, allow_control: bool = False) -> list[int]:
        data, out, at = text.encode(), [], 0
        ids = {spelled: i for i, spelled in reversed(list(enumerate(self._spelled))) if spelled}
        while at < len(data):
            end = next(e for e in range(len(data), at, -1) if data[at:e] in ids)
            out.append(ids[data[at:end]])
            at = end
        return out

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")


@pytest.fixture(scope="session")
def tokenizer() -> TinyTokenizer:
    return TinyTokenizer()


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., TinyTokenizer]:
    return TinyTokenizer


@pytest.fixture(scope="session")
def trie(tokenizer: TinyTokenizer) -> TokenTrie:
    return TokenTrie.from_tokenizer(tokenizer)


@pytest.fixture(scope="session")
def plain_exprs() -> st.SearchStrategy[ir.Expr]:
    return _exprs(with_booleans=False)


@pytest.fixture(scope="session")
def exprs() -> st.SearchStrategy[ir.Expr]:
    return _exprs(with_booleans=True)


@pytest.fixture(scope="session")
def nested_arrays() -> ir.Grammar:
    """JSON arrays of the number 1: value -> 1 | [ (value (, value)*)? ]"""
    value = ir.Rule("value")
    more = ir.star(ir.Concat((ir.literal(","), value)))
    items = ir.optional(ir.Concat((value, more)))
    array = ir.Concat((ir.literal("["), items, ir.literal("]")))
    return ir.Grammar(value, {"value": ir.Alt((ir.literal("1"), array))})


def _exprs(with_booleans: bool) -> st.SearchStrategy[ir.Expr]:
    leaves = st.one_of(
        st.sets(st.sampled_from(LETTERS), max_size=3).map(
            lambda some: ir.ByteSet(sum(1 << byte for byte in some))
        ),
        st.lists(st.sampled_from(LETTERS), max_size=3).map(lambda some: ir.Literal(bytes(some))),
    )

    def extend(inner: st.SearchStrategy[ir.Expr]) -> st.SearchStrategy[ir.Expr]:
        many = st.lists(inner, max_size=3).map(tuple)
        bounds = st.tuples(st.integers(0, 2), st.none() | st.integers(0, 2))
        kinds: list[st.SearchStrategy[ir.Expr]] = [
            many.map(ir.Concat),
            many.map(ir.Alt),
            st.builds(
                lambda item, lo_more: ir.Repeat(
                    item, lo_more[0], None if lo_more[1] is None else sum(lo_more)
                ),
                inner,
                bounds,
            ),
        ]
        if with_booleans:
            kinds += [
                st.lists(inner, min_size=1, max_size=3).map(tuple).map(ir.And),
                inner.map(ir.Not),
            ]
        return st.one_of(kinds)

    return st.recursive(leaves, extend, max_leaves=8)
