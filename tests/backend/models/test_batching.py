"""A ragged batch over shared, scattered pages gives what each sequence alone gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.batch import Batch, KVPool, Model
from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.scripted import ScriptedModel
from sestina.backend.models.tiny import tiny_llama

NUM_SLOTS = 400
WORK = st.lists(
    st.tuples(
        st.lists(st.integers(0, 99), min_size=1, max_size=30),  # a sequence
        st.lists(st.integers(1, 12), min_size=1, max_size=8),  # the sizes of its chunks
    ),
    min_size=1,
    max_size=4,
)
Sequences = list[tuple[list[int], list[int]]]


class Runner:
    """Feeds each sequence chunk by chunk, all sequences side by side in one batch per step."""

    def __init__(self, model: Model, work: Sequences, seed: int) -> None:
        self.model = model
        self.work = work
        generator = torch.Generator().manual_seed(seed)
        self.free = torch.randperm(NUM_SLOTS, generator=generator).tolist()
        self.table = torch.zeros((len(work) + 1, 40), dtype=torch.int32)
        self.kv = KVPool.empty(model.config, NUM_SLOTS, model.kv_dtype, model.device)
        self.done = [0] * len(work)

    def chunks(self, step: int) -> list[tuple[int, int, int]]:
        """(row, start, end) of each sequence that still has tokens."""
        chunks = []
        for b, (tokens, sizes) in enumerate(self.work):
            end = min(len(tokens), self.done[b] + sizes[step % len(sizes)])
            if end > self.done[b]:
                chunks.append((b, self.done[b], end))
        return chunks

    def step(self, chunks: list[tuple[int, int, int]]) -> torch.Tensor:
        token_ids, positions, slots = [], [], []
        for b, start, end in chunks:
            for s in range(start, end):
                self.table[b + 1, s] = self.free.pop()
                token_ids.append(self.work[b][0][s])
                positions.append(s)
                slots.append(int(self.table[b + 1, s]))
            self.done[b] = end
        starts = [0]
        for _, start, end in chunks:
            starts.append(starts[-1] + end - start)
        batch = Batch(
            token_ids=torch.tensor(token_ids),
            positions=torch.tensor(positions),
            slots=torch.tensor(slots),
            query_start=torch.tensor(starts, dtype=torch.int32),
            seq_lens=torch.tensor([end for _, _, end in chunks], dtype=torch.int32),
            table_rows=torch.tensor([b + 1 for b, _, _ in chunks], dtype=torch.int32),
            page_table=self.table,
            logit_rows=torch.tensor([start - 1 for start in starts[1:]]),
        )
        return self.model.forward(batch, self.kv)


@pytest.mark.parametrize("model", [tiny_llama(seed=5, vocab_size=100), ScriptedModel(None, 100)])
def test_chunks_side_by_side_equal_each_sequence_alone(model: Model) -> None:
    @given(work=WORK, seed=st.integers(0, 1 << 30))
    @settings(deadline=None, max_examples=15)
    def check(work: Sequences, seed: int) -> None:
        alone = [sequence_logits(model, tokens) for tokens, _ in work]
        runner = Runner(model, work, seed)
        step = 0
        while chunks := runner.chunks(step):
            logits = runner.step(chunks)
            for n, (b, _, end) in enumerate(chunks):
                torch.testing.assert_close(logits[n], alone[b][end - 1], rtol=1e-4, atol=1e-4)
            step += 1

    check()


def test_a_shared_prefix_is_read_from_its_pages() -> None:
    model = tiny_llama(seed=2, vocab_size=100)
    prefix, tails = [5, 6, 7, 8, 9], [[1, 2], [3, 4]]
    runner = Runner(model, [(prefix + tail, [5, 2]) for tail in tails], seed=0)
    runner.step([(0, 0, 5)])
    runner.table[2, :5] = runner.table[1, :5]
    logits = runner.step([(0, 5, 7), (1, 5, 7)])
    for n, tail in enumerate(tails):
        want = sequence_logits(model, prefix + tail)[-1]
        torch.testing.assert_close(logits[n], want, rtol=1e-4, atol=1e-4)


def test_logits_of_no_row_are_an_empty_tensor() -> None:
    model = tiny_llama()
    order = torch.arange(3)
    batch = Batch(
        token_ids=order,
        positions=order,
        slots=order,
        query_start=torch.tensor([0, 3], dtype=torch.int32),
        seq_lens=torch.tensor([3], dtype=torch.int32),
        table_rows=torch.zeros(1, dtype=torch.int32),
        page_table=order.int()[None],
        logit_rows=torch.zeros(0, dtype=torch.int64),
    )
    kv = KVPool.empty(model.config, 3, model.kv_dtype, model.device)
    assert model.forward(batch, kv).shape == (0, model.config.vocab_size)
    assert kv.k.abs().sum(dim=(2, 3)).gt(0).all()
