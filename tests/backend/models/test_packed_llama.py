"""The compiled decoder is the plain Llama: same weights, same logits, whatever the batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sestina.backend.batch import Batch, KVPool, Model
from sestina.backend.models.llama_loader import build_llama, build_packed_llama
from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.packed_llama import PackedLlama
from sestina.backend.models.tiny import random_tensors, tiny_config, tiny_llama

CPU = torch.device("cpu")
VOCAB = 100
CLOSE = {torch.float32: 2e-5, torch.bfloat16: 0.15, torch.int8: 0.4}
"""How far logits of a spread of about 2 may lie apart; bfloat16 and int8 round the weights."""


def one_pass(model: Model, kv: KVPool, rows: list[tuple[int, Tensor]], seen: list[int]) -> Tensor:
    """Logits of all new tokens; rows are (first slot, new ids), after `seen` tokens each."""
    new = [ids for _, ids in rows]
    ends = [before + len(ids) for before, ids in zip(seen, new, strict=True)]
    table = torch.zeros((len(rows), 128), dtype=torch.int32)
    for b, (first, _) in enumerate(rows):
        table[b] = torch.arange(first, first + 128)
    positions = torch.cat([torch.arange(b, e) for b, e in zip(seen, ends, strict=True)])
    owners = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(i) for i in new]))
    starts = torch.tensor([0, *(len(ids) for ids in new)]).cumsum(0).int()
    batch = Batch(
        token_ids=torch.cat(new),
        positions=positions,
        slots=table[owners, positions].long(),
        query_start=starts,
        seq_lens=torch.tensor(ends, dtype=torch.int32),
        table_rows=torch.arange(len(rows), dtype=torch.int32),
        page_table=table,
        logit_rows=torch.arange(len(positions)),
    )
    return model.forward(batch, kv)


def pool(model: Model) -> KVPool:
    return KVPool.empty(model.config, 512, model.kv_dtype, CPU)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("tie", [False, True])
def test_it_equals_the_plain_llama(dtype: torch.dtype, tie: bool) -> None:
    config = tiny_config(vocab_size=VOCAB)
    tensors = random_tensors(config, seed=3)
    if tie:
        config = replace(config, tie_embeddings=True)
        del tensors["lm_head.weight"]
    plain = build_llama(config, tensors, torch.float32, CPU)
    packed = build_packed_llama(config, tensors, dtype)
    ids = torch.arange(40) * 7 % VOCAB
    expected, got = (sequence_logits(model, ids.tolist()) for model in (plain, packed))
    spread = float(expected.std())
    assert float((expected - got).abs().max()) < CLOSE[dtype] * spread


@pytest.mark.parametrize("dtype", CLOSE)
@settings(deadline=None, max_examples=25)
@given(
    cuts=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    company=st.lists(st.integers(1, 40), max_size=3),
)
def test_bits_depend_neither_on_chunks_nor_on_company(
    dtype: torch.dtype, cuts: list[int], company: list[int]
) -> None:
    model = MODELS[dtype]
    ids = torch.arange(sum(cuts)) * 11 % VOCAB
    whole = one_pass(model, pool(model), [(0, ids)], [0])
    kv, done, pieces = pool(model), 0, []
    for cut in cuts:
        others = [(128 * (n + 1), torch.arange(size) % VOCAB) for n, size in enumerate(company)]
        rows = [(0, ids[done : done + cut]), *others]
        pieces.append(one_pass(model, kv, rows, [done, *(0 for _ in others)])[:cut])
        done += cut
    assert torch.equal(torch.cat(pieces), whole)


def models() -> dict[torch.dtype, PackedLlama]:
    return {dtype: tiny_llama(seed=5, vocab_size=VOCAB, dtype=dtype) for dtype in CLOSE}


MODELS = models()


@pytest.mark.parametrize("num_tokens", [5, 60, 150])
def test_the_number_of_threads_changes_nothing(num_tokens: int) -> None:
    ids = torch.arange(num_tokens) % VOCAB
    before = torch.get_num_threads()
    logits = []
    try:
        for num_threads in (1, 2, 5):
            torch.set_num_threads(num_threads)
            logits.append(sequence_logits(tiny_llama(seed=5, vocab_size=VOCAB), ids.tolist()))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_ids_outside_the_vocabulary_are_refused() -> None:
    for bad in (-1, VOCAB):
        with pytest.raises(IndexError, match="token ids"):
            sequence_logits(MODELS[torch.float32], [1, bad])


def test_logits_that_somebody_holds_are_not_overwritten() -> None:
    model = MODELS[torch.float32]
    first = one_pass(model, pool(model), [(0, torch.arange(9))], [0])[3:5]
    kept = first.clone()
    second = one_pass(model, pool(model), [(0, torch.arange(50, 59))], [0])
    assert not torch.equal(second[3:5], kept)
    assert torch.equal(first, kept)


def test_stages_are_timed_only_where_asked() -> None:
    model = MODELS[torch.float32]
    with model.decoder.timed() as clocks:
        one_pass(model, pool(model), [(0, torch.arange(9))], [0])
    spent = clocks.sum(axis=0)
    assert (spent[:-1] > 0).all()
    one_pass(model, pool(model), [(0, torch.arange(9))], [0])
    assert (clocks.sum(axis=0) == spent).all()
