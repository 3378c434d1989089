from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.lang.choices import (
    greedy_token_selection,
    pick,
    score_choices,
    token_length_normalized,
    unconditional_likelihood_normalized,
)
from sestina.lang.errors import InvalidParams

logprob = st.one_of(st.floats(-50.0, 0.0), st.sampled_from([0.0, -1.0, -math.inf]))
rows = st.lists(st.lists(logprob, min_size=1, max_size=6), min_size=1, max_size=6)


def names(rows_: list[list[float]]) -> list[str]:
    return [f"option {i}" for i in range(len(rows_))]


def greedy_by_elimination(matrix: list[list[float]]) -> int:
    """SGLang's loop, literally: keep the rows equal to the column's maximum, take the first."""
    longest = max(map(len, matrix))
    padded = [row + [math.fsum(row) / len(row)] * (longest - len(row)) for row in matrix]
    remaining = list(range(len(padded)))
    for j in range(longest):
        best = max(padded[i][j] for i in remaining)
        remaining = [i for i in remaining if padded[i][j] == best]
        if len(remaining) == 1:
            break
    return remaining[0]


@given(rows)
@settings(deadline=None, max_examples=200)
def test_token_length_normalized_picks_the_best_mean(matrix: list[list[float]]) -> None:
    scores = score_choices(token_length_normalized, names(matrix), matrix)
    means = [math.fsum(row) / len(row) for row in matrix]
    assert [s.score for s in scores] == means
    assert pick(scores) == means.index(max(means))


@given(rows)
@settings(deadline=None, max_examples=200)
def test_greedy_token_selection_is_elimination(matrix: list[list[float]]) -> None:
    scores = score_choices(greedy_token_selection, names(matrix), matrix)
    assert pick(scores) == greedy_by_elimination(matrix)


@given(rows)
@settings(deadline=None, max_examples=200)
def test_posterior_is_a_softmax_of_the_joint(matrix: list[list[float]]) -> None:
    scores = score_choices(token_length_normalized, names(matrix), matrix)
    assert math.isclose(sum(s.probability for s in scores), 1.0, rel_tol=1e-9)
    for a in scores:
        for b in scores:
            if a.logprob > b.logprob:
                assert a.probability >= b.probability
            if min(a.logprob, b.logprob) > max(s.logprob for s in scores) - 500:
                ratio = math.log(a.probability / b.probability)
                assert math.isclose(ratio, a.logprob - b.logprob, rel_tol=1e-6, abs_tol=1e-6)


def test_a_logprob_of_exactly_zero_counts_in_the_mean() -> None:
    scores = score_choices(token_length_normalized, ["a"], [[-1.0, 0.0, -2.0]])
    assert scores[0].score == -1.0


def test_the_lowest_index_wins_a_tie_in_every_method() -> None:
    matrix = [[-1.0, -1.0]] * 3
    for method in (
        token_length_normalized,
        greedy_token_selection,
        unconditional_likelihood_normalized,
    ):
        assert pick(score_choices(method, names(matrix), matrix, matrix)) == 0


def test_unconditional_subtracts_and_takes_an_unknown_first_token_as_zero() -> None:
    scores = score_choices(
        unconditional_likelihood_normalized,
        ["a", "b"],
        [[-2.0, -3.0], [-1.0]],
        [[None, -2.5], [None]],
    )
    assert [s.score for s in scores] == [-1.25, -1.0]
    assert scores[0].unconditional_logprobs == (0.0, -2.5)


def test_what_cannot_follow_the_prompt_never_wins_by_its_prior() -> None:
    rows_ = [[-math.inf], [-5.0]]
    scores = score_choices(
        unconditional_likelihood_normalized, ["a", "b"], rows_, [[-math.inf], [0.0]]
    )
    assert pick(scores) == 1


@pytest.mark.parametrize(
    ("choices", "matrix", "message"),
    [
        ([], [], "no options"),
        (["a", "b"], [[-1.0]], "2 options"),
        (["a"], [[]], "'a' has no tokens"),
        (["a"], [[math.nan]], "not a number"),
    ],
)
def test_input_that_does_not_fit_is_refused(
    choices: list[str], matrix: list[list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score_choices(token_length_normalized, choices, matrix)


def test_unconditional_needs_its_logprobs_in_the_same_shape() -> None:
    with pytest.raises(ValueError, match="needs unconditional"):
        score_choices(unconditional_likelihood_normalized, ["a"], [[-1.0]])
    with pytest.raises(ValueError, match="shape"):
        score_choices(unconditional_likelihood_normalized, ["a"], [[-1.0]], [[-1.0, -2.0]])


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(InvalidParams, match="greedy_token_selection"):
        score_choices("best", ["a"], [[-1.0]])  # type: ignore[arg-type]
