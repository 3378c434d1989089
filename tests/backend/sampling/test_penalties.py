from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.sampling import check_ids, forbidden_ids
from sestina.backend.sampling.penalties import changes_logits, forbid, penalise
from sestina.lang.errors import InvalidParams
from sestina.lang.params import SamplingParams

V = 8
token_ids = st.lists(st.integers(0, V - 1), max_size=10)
biases = st.dictionaries(st.integers(0, V - 1), st.floats(-100, 100), max_size=4)


def penalise_naively(
    logits: list[float], params: SamplingParams, prompt: list[int], output: list[int]
) -> list[float]:
    """Token by token, from the definitions."""
    p = params.resolved()
    bias = dict(p.logit_bias or ())
    result = []
    for i, logit in enumerate(logits):
        if i in prompt or i in output:
            logit = logit / p.repetition_penalty if logit > 0 else logit * p.repetition_penalty
        logit -= p.frequency_penalty * output.count(i)
        logit -= p.presence_penalty * (i in output)
        result.append(logit + bias.get(i, 0.0))
    return result


@settings(deadline=None, max_examples=200)
@given(
    logits=st.lists(st.floats(-30, 30, width=32) | st.just(-np.inf), min_size=V, max_size=V),
    prompt=token_ids,
    output=token_ids,
    frequency=st.floats(-2, 2),
    presence=st.floats(-2, 2),
    repetition=st.floats(0.5, 2),
    bias=biases,
)
def test_follows_the_definitions(
    logits: list[float],
    prompt: list[int],
    output: list[int],
    frequency: float,
    presence: float,
    repetition: float,
    bias: dict[int, float],
) -> None:
    params = SamplingParams(
        frequency_penalty=frequency,
        presence_penalty=presence,
        repetition_penalty=repetition,
        logit_bias=bias,  # type: ignore[arg-type]
    ).resolved()
    changed = np.array(logits, dtype=np.float32)
    penalise(changed, params, prompt, output)
    expected = penalise_naively(logits, params, prompt, output)
    np.testing.assert_allclose(changed, expected, rtol=1e-5, atol=1e-4)
    assert (np.isneginf(changed) == np.isneginf(logits)).all()


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (SamplingParams(), False),
        (SamplingParams(temperature=0.3, top_k=4, min_tokens=3), False),
        (SamplingParams(repetition_penalty=1.1), True),
        (SamplingParams(frequency_penalty=-0.5), True),
        (SamplingParams(presence_penalty=0.5), True),
        (SamplingParams(logit_bias=((1, 2.0),)), True),
    ],
)
def test_knows_when_there_is_nothing_to_do(params: SamplingParams, expected: bool) -> None:
    assert changes_logits(params.resolved()) is expected


def test_extreme_penalties_end_in_infinity_not_in_a_warning() -> None:
    params = SamplingParams(repetition_penalty=1e-44).resolved()
    logits = np.ones(V, dtype=np.float32)
    penalise(logits, params, [1], [])
    assert logits[1] == np.inf


def test_forbid_does_not_hide_broken_logits() -> None:
    logits = np.array([1, np.nan, np.inf, -np.inf, 5], dtype=np.float32)
    forbid(logits, (0, 1, 2, 3))
    np.testing.assert_array_equal(logits, np.array([-np.inf, np.nan, np.inf, -np.inf, 5]))
    forbid(logits, ())
    assert logits[4] == 5


def test_min_tokens_forbids_every_end() -> None:
    params = SamplingParams(min_tokens=2, stop_token_ids=(5, 3)).resolved()
    assert forbidden_ids(params, 0, (2, 3)) == (2, 3, 5)
    assert forbidden_ids(params, 1, (2, 3)) == (2, 3, 5)
    assert forbidden_ids(params, 2, (2, 3)) == ()
    assert forbidden_ids(SamplingParams().resolved(), 0, (2,)) == ()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (SamplingParams(stop_token_ids=(1, V)), "stop_token_ids: 8 is not an id"),
        (SamplingParams(logit_bias=((V, 1.0),)), "logit_bias: 8 is not an id"),
        (SamplingParams(logit_bias=((1, -1e31),)), "logit_bias of id 1 is -1e"),
    ],
)
def test_refuses_ids_the_model_does_not_have(params: SamplingParams, message: str) -> None:
    with pytest.raises(InvalidParams, match=message):
        check_ids(params, V)


def test_accepts_ids_the_model_has() -> None:
    check_ids(SamplingParams(), V)
    check_ids(SamplingParams(stop_token_ids=(0, V - 1), logit_bias=((0, 1e30),)), V)


def test_min_tokens_gives_way_where_the_mask_allows_nothing_else() -> None:
    params = SamplingParams(min_tokens=5, max_tokens=9, stop_token_ids=[3]).resolved()
    assert forbidden_ids(params, 2, (7,)) == (7, 3)
    assert forbidden_ids(params, 2, (7,), np.array([0b10001000], np.int32)) == ()
    assert forbidden_ids(params, 2, (7,), np.array([0b10001001], np.int32)) == (7, 3)
    assert forbidden_ids(params, 5, (7,), np.array([0b10001001], np.int32)) == ()
