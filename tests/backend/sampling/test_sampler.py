from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.sampling import Sampled, SampleRow, sample
from sestina.lang.params import SamplingParams

V = 70


def params(**options: object) -> SamplingParams:
    return SamplingParams.of(options).resolved()


def mask_of(*allowed: int) -> np.ndarray:
    row = np.zeros((V + 31) // 32, dtype=np.uint32)
    for token_id in allowed:
        row[token_id // 32] |= np.uint32(1 << token_id % 32)
    return row.view(np.int32)


def greedy(**options: object) -> SampleRow:
    return SampleRow(params(temperature=0.0, **options), seed=0, position=0)


def ramp(num_rows: int) -> torch.Tensor:
    """Logits that grow with the id: V - 1 is the most likely."""
    return torch.linspace(-3, 3, V).repeat(num_rows, 1)


def test_no_rows() -> None:
    assert sample(torch.empty(0, V), []) == []


def test_rows_and_logits_must_agree() -> None:
    with pytest.raises(ValueError, match="2 rows of logits for 1 rows"):
        sample(ramp(2), [greedy()])


def test_each_row_has_its_own_mask() -> None:
    rows = [
        replace(greedy(), mask=mask_of(1, 7, 40)),
        greedy(),
        replace(greedy(), mask=mask_of(2, 3)),
    ]
    drawn = sample(ramp(3), rows)
    assert [d.id for d in drawn] == [40, V - 1, 3]
    softmax = ramp(1)[0].softmax(0)
    assert drawn[0].masked_mass == pytest.approx(1 - float(softmax[[1, 7, 40]].sum()), abs=1e-6)
    assert drawn[1] == Sampled(V - 1, None, (), 0.0)


def test_forbidden_ids_leave() -> None:
    rows = [replace(greedy(), forbidden_ids=(V - 1, V - 2)), greedy()]
    assert [d.id for d in sample(ramp(2), rows)] == [V - 3, V - 1]


def test_nothing_allowed_is_not_papered_over() -> None:
    rows = [
        replace(greedy(), mask=mask_of()),
        replace(greedy(return_logprob=True), mask=mask_of(5), forbidden_ids=(5,)),
    ]
    assert [(d.id, d.logprob, d.top) for d in sample(ramp(2), rows)] == [(-1, None, ())] * 2


def test_broken_logits_harm_only_their_row() -> None:
    logits = ramp(3)
    logits[1, 3] = torch.nan
    rows = [greedy(), replace(greedy(return_logprob=True), forbidden_ids=(3,)), greedy()]
    assert [d.id for d in sample(logits, rows)] == [V - 1, -1, V - 1]


def test_logit_bias_moves_but_cannot_unmask() -> None:
    rows = [
        greedy(logit_bias={3: 100.0}),
        replace(greedy(logit_bias={3: 100.0}), mask=mask_of(4, 5)),
        replace(greedy(logit_bias={3: 100.0}), forbidden_ids=(3,)),
    ]
    assert [d.id for d in sample(ramp(3), rows)] == [3, 5, V - 1]


def test_penalties_see_the_output_and_the_prompt() -> None:
    rows = [
        replace(greedy(presence_penalty=2.0), output_ids=[V - 1]),
        replace(greedy(presence_penalty=2.0), prompt_ids=[V - 1]),
        replace(greedy(repetition_penalty=2.0), prompt_ids=[V - 1], output_ids=[V - 2]),
    ]
    assert [d.id for d in sample(ramp(3), rows)] == [V - 2, V - 1, V - 3]


def test_log_probabilities_are_the_unmodified_models() -> None:
    rows = [
        greedy(),
        replace(
            greedy(return_logprob=True, top_logprobs_num=3, logit_bias={V - 1: -50.0}),
            mask=mask_of(7, 8),
        ),
        greedy(return_logprob=True, top_logprobs_num=1),
        greedy(top_logprobs_num=2),
    ]
    drawn = sample(ramp(4), rows)
    exact = ramp(1)[0].log_softmax(0)
    assert drawn[0].logprob is None
    assert drawn[1].id == 8
    assert drawn[1].logprob == pytest.approx(float(exact[8]), abs=1e-5)
    assert [token_id for token_id, _ in drawn[1].top] == [V - 1, V - 2, V - 3]
    assert [v for _, v in drawn[1].top] == pytest.approx(exact[[-1, -2, -3]].tolist(), abs=1e-5)
    assert drawn[2].top == ((V - 1, drawn[2].logprob),)
    assert drawn[3].top == ()


wishes = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        "top_k": st.sampled_from([-1, 1, 5, 1000]),
        "top_p": st.sampled_from([0.3, 0.9, 1.0]),
        "min_p": st.sampled_from([0.0, 0.1]),
        "frequency_penalty": st.sampled_from([0.0, 1.5]),
        "repetition_penalty": st.sampled_from([1.0, 1.3]),
        "logit_bias": st.just({4: 3.0}),
        "return_logprob": st.booleans(),
        "top_logprobs_num": st.integers(0, 4),
    },
)
rows_of_all_kinds = st.builds(
    SampleRow,
    params=wishes.map(lambda options: params(**options)),
    seed=st.integers(-(1 << 63), (1 << 64) - 1),
    position=st.integers(0, 1 << 20),
    prompt_ids=st.lists(st.integers(0, V - 1), max_size=5),
    output_ids=st.lists(st.integers(0, V - 1), max_size=5),
    mask=st.none() | st.sets(st.integers(0, V - 1), max_size=20).map(lambda ids: mask_of(*ids)),
    forbidden_ids=st.lists(st.integers(0, V - 1), max_size=3).map(tuple),
)


@settings(deadline=None, max_examples=120)
@given(st.lists(rows_of_all_kinds, min_size=1, max_size=5), st.integers(0, 2**32))
def test_a_row_does_not_depend_on_the_batch(rows: list[SampleRow], seed: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (len(rows), V)))
    logits = logits.to(torch.float32)
    before = logits.clone()
    together = sample(logits, rows)
    assert torch.equal(logits, before)
    assert sample(logits.flip(0), rows[::-1])[::-1] == together
    for b, row in enumerate(rows):
        assert sample(logits[b : b + 1], [row]) == together[b : b + 1]
        token_id = together[b].id
        if token_id >= 0:
            assert token_id not in row.forbidden_ids
            assert row.mask is None or row.mask[token_id // 32] >> token_id % 32 & 1


def test_n_continuations_differ_by_their_seeds() -> None:
    rows = [SampleRow(params(), seed=seed, position=0) for seed in range(200)]
    assert len({drawn.id for drawn in sample(torch.zeros(200, V), rows)}) > V // 2
