"""The scripted model notices every kind of wrong page."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sestina.backend.batch import Batch, KVPool
from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.scripted import CERTAIN, ScriptedModel, prefix_hash_script
from sestina.lang.errors import InternalError

MODEL = ScriptedModel(vocab_size=50)


def fresh_pool() -> KVPool:
    return KVPool.empty(MODEL.config, 10, MODEL.kv_dtype, MODEL.device)


def chunk(tokens: list[int], start: int, slots: list[int], table: list[int]) -> Batch:
    end = start + len(tokens)
    return Batch(
        token_ids=torch.tensor(tokens),
        positions=torch.arange(start, end),
        slots=torch.tensor(slots),
        query_start=torch.tensor([0, len(tokens)], dtype=torch.int32),
        seq_lens=torch.tensor([end], dtype=torch.int32),
        table_rows=torch.zeros(1, dtype=torch.int32),
        page_table=torch.tensor([table], dtype=torch.int32),
        logit_rows=torch.tensor([len(tokens) - 1]),
    )


def test_an_id_or_logits_may_be_scripted() -> None:
    certain = ScriptedModel(lambda tokens: (sum(tokens) + 1) % 7, vocab_size=7)
    assert sequence_logits(certain, [1, 2, 3]).argmax(dim=-1).tolist() == [2, 4, 0]
    assert float(sequence_logits(certain, [1]).max()) == CERTAIN
    spread = ScriptedModel(lambda tokens: [float(len(tokens)), 0.5], vocab_size=2)
    assert sequence_logits(spread, [1, 1]).tolist() == [[1.0, 0.5], [2.0, 0.5]]


def test_the_default_script_hashes_the_prefix() -> None:
    script = prefix_hash_script(50)
    want = torch.stack([torch.as_tensor(script((4, 5)[:n])) for n in (1, 2)])
    assert torch.equal(sequence_logits(MODEL, [4, 5]), want)


def test_chunks_read_earlier_pages_back() -> None:
    kv = fresh_pool()
    MODEL.forward(chunk([1, 2], 0, [7, 3], [7, 3, 0]), kv)
    logits = MODEL.forward(chunk([9], 2, [5], [7, 3, 5]), kv)
    assert torch.equal(logits[0], sequence_logits(MODEL, [1, 2, 9])[-1])


def test_a_stale_page_of_another_sequence_changes_the_output() -> None:
    kv = fresh_pool()
    MODEL.forward(chunk([1, 2], 0, [7, 3], [7, 3, 0]), kv)
    MODEL.forward(chunk([1, 8], 0, [6, 4], [6, 4, 0]), kv)
    logits = MODEL.forward(chunk([9], 2, [5], [7, 4, 5]), kv)
    assert not torch.equal(logits[0], sequence_logits(MODEL, [1, 2, 9])[-1])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (chunk([9], 2, [5], [7, 7, 5]), "slot 7 should hold position 1, it holds 0"),
        (chunk([9], 2, [5], [7, 8, 5]), "slot 8 should hold position 1, it holds -1"),
        (chunk([9], 2, [5], [7, 3, 4]), "does not hold the new tokens' slots"),
        (chunk([9, 9], 2, [5, 5], [7, 3, 5, 5]), "same slot"),
        (chunk([50], 2, [5], [7, 3, 5]), "outside the vocabulary of 50"),
        (replace(chunk([9], 2, [5], [7, 3, 5]), positions=torch.tensor([1])), "positions other"),
        (
            replace(
                chunk([9], 2, [5], [7, 3, 5]), query_start=torch.tensor([0, 2], dtype=torch.int32)
            ),
            "does not cover the batch",
        ),
    ],
)
def test_contradictions_raise(batch: Batch, message: str) -> None:
    kv = fresh_pool()
    MODEL.forward(chunk([1, 2], 0, [7, 3], [7, 3, 0]), kv)
    with pytest.raises(InternalError, match=message):
        MODEL.forward(batch, kv)


def test_keys_and_values_must_agree() -> None:
    kv = fresh_pool()
    MODEL.forward(chunk([1, 2], 0, [7, 3], [7, 3, 0]), kv)
    kv.v[0, 3] += 1
    with pytest.raises(InternalError, match="disagree"):
        MODEL.forward(chunk([9], 2, [5], [7, 3, 5]), kv)
