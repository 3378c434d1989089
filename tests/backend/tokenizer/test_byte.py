from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.tokenizer.byte import CONTROL, FIRST_MERGE_ID, ByteTokenizer

PLAIN = ByteTokenizer()
MERGED = ByteTokenizer(400, seed=3)

texts = st.text(max_size=60) | st.text('{"name": Ada Lvc日本語のテ}<|im_end|>', max_size=60)


@given(texts)
@settings(deadline=None)
def test_ids_spell_the_text(text):
    for tokenizer in (PLAIN, MERGED):
        ids = tokenizer.encode(text)
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
        assert tokenizer.decode(ids) == text


@given(texts)
@settings(deadline=None)
def test_encoding_takes_the_longest_token(text):
    vocabulary = {MERGED.token_bytes(i) for i in range(MERGED.vocab_size)} - {b""}
    rest = text.encode()
    for token_id in MERGED.encode(text):
        found = MERGED.token_bytes(token_id)
        assert found == max((t for t in vocabulary if rest.startswith(t)), key=len)
        rest = rest[len(found) :]


def test_merges_are_distinct_seeded_and_cut_characters():
    merges = [MERGED.token_bytes(i) for i in range(FIRST_MERGE_ID, MERGED.vocab_size)]
    assert len(set(merges)) == 400
    assert min(map(len, merges)) >= 2

    def is_text(data):
        return data.decode("utf-8", errors="ignore").encode() == data

    assert not all(map(is_text, merges))
    assert ByteTokenizer(400, seed=3).fingerprint == MERGED.fingerprint
    assert len({t.fingerprint for t in (PLAIN, MERGED, ByteTokenizer(400, seed=4))}) == 3
    with pytest.raises(ValueError, match="num_merges"):
        ByteTokenizer(10**6)


def test_control_tokens_are_written_only_on_request():
    text = "a<|im_end|>é"
    assert not set(PLAIN.encode(text)) & set(PLAIN.control_ids.values())
    ids = PLAIN.encode(text, allow_control=True)
    assert ids == [97, PLAIN.control_ids["<|im_end|>"], 0xC3, 0xA9]
    assert PLAIN.decode(ids) == text
    assert set(PLAIN.control_ids) == set(CONTROL)
    assert all(PLAIN.token_bytes(i) == b"" for i in PLAIN.control_ids.values())
    assert PLAIN.bos_id is None
    assert ByteTokenizer(add_bos=True).bos_id == 257


def test_what_is_not_text_is_refused_and_broken_utf8_is_shown():
    with pytest.raises(ValueError, match="surrogates"):
        PLAIN.encode("\ud800")
    assert PLAIN.decode([0xC3, 0x28]) == "\ufffd("
    assert PLAIN.token_bytes(10**6) == b""
