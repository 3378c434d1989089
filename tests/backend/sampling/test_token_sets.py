from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.core import tokens_in

from sestina.backend.sampling.token_sets import TokenSets
from sestina.backend.tokenizer.byte import ByteTokenizer

TOKENIZER = ByteTokenizer(60)
SETS = TokenSets(TOKENIZER)


@given(
    ids=st.lists(st.integers(0, TOKENIZER.vocab_size + 99), max_size=5),
    some_bytes=st.lists(st.integers(0, 255), max_size=3),
)
def test_a_set_has_its_ids_and_those_with_the_bytes(ids: list[int], some_bytes: list[int]) -> None:
    wanted = {i for i in ids if i < 32 * SETS.num_words}
    for token_id in range(TOKENIZER.vocab_size):
        if set(TOKENIZER.token_bytes(token_id)) & set(some_bytes):
            wanted.add(token_id)
    assert tokens_in(SETS.of(ids, some_bytes)) == wanted


def test_everything_is_the_vocabulary_and_no_more() -> None:
    assert TOKENIZER.vocab_size % 32
    assert tokens_in(SETS.everything()) == set(range(TOKENIZER.vocab_size))
