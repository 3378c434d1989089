from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.sampling import Detokenizer

CONTROL = 256
PAIR = 257


class ByteTokenizer:
    """Ids 0..255 are bytes; 256 is a control token; 257 stands for two bytes of a euro sign."""

    def token_bytes(self, token_id: int) -> bytes:
        return {CONTROL: b"", PAIR: b"\xe2\x82"}[token_id] if token_id > 255 else bytes([token_id])


TOKENIZER = ByteTokenizer()

# Bytes at the limits of UTF-8's table (RFC 3629), so that broken sequences of every kind appear.
ids = st.lists(
    st.sampled_from([0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE2])
    | st.sampled_from([0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF, CONTROL, PAIR])
    | st.integers(0, 255),
    max_size=24,
)


def raw(tokens: list[int]) -> bytes:
    return b"".join(map(TOKENIZER.token_bytes, tokens))


@settings(deadline=None, max_examples=500)
@given(ids, st.lists(st.integers(0, 24), max_size=6))
def test_equals_decoding_the_whole(tokens: list[int], cuts: list[int]) -> None:
    detokenizer = Detokenizer(TOKENIZER)
    edges = [0, *sorted(min(cut, len(tokens)) for cut in cuts), len(tokens)]
    pieces = [detokenizer.push(tokens[start:end]) for start, end in pairwise(edges)]
    # What came so far is final: the whole text starts with it.
    whole = raw(tokens).decode("utf-8", errors="replace")
    assert whole.startswith("".join(pieces))
    assert "".join(pieces) + detokenizer.finish() == whole
    assert detokenizer.finish() == ""


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=12))
def test_characters_come_whole_and_at_once(text: str) -> None:
    detokenizer = Detokenizer(TOKENIZER)
    for char in text:
        *first, last = char.encode()
        assert detokenizer.push(first) == ""
        assert detokenizer.has_pending == bool(first)
        assert detokenizer.push([last]) == char
        assert not detokenizer.has_pending


@settings(deadline=None, max_examples=100)
@given(ids, ids, ids)
def test_forks_are_independent(prefix: list[int], left: list[int], right: list[int]) -> None:
    parent = Detokenizer(TOKENIZER)
    before = parent.push(prefix)
    child = parent.fork()
    for detokenizer, rest in ((parent, left), (child, right)):
        text = before + detokenizer.push(rest) + detokenizer.finish()
        assert text == raw(prefix + rest).decode("utf-8", errors="replace")


def test_control_tokens_give_no_text() -> None:
    detokenizer = Detokenizer(TOKENIZER)
    assert detokenizer.push([PAIR, CONTROL, 0xAC, CONTROL]) == "€"
    assert detokenizer.finish() == ""
