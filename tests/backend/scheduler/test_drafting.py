"""Where drafts come from, and what is left of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sestina.backend.scheduler.drafting import (
    NO_DRAFT,
    Draft,
    Habits,
    NgramIndex,
    Odds,
    num_agreeing,
)
from sestina.backend.scheduler.policy import draft_room, worthwhile_odds

texts = st.lists(st.integers(0, 3), max_size=60)


def last_follower(text: list[int], run: list[int]) -> int | None:
    """By search: what follows the last occurrence of `run` that something follows."""
    for start in range(len(text) - len(run) - 1, -1, -1):
        if text[start : start + len(run)] == run:
            return text[start + len(run)]
    return None


@given(texts, st.lists(st.integers(0, 3), min_size=1, max_size=3), st.integers(1, 7))
def test_the_index_finds_what_a_search_finds(text: list[int], run: list[int], step: int) -> None:
    index = NgramIndex()
    for start in range(0, len(text), step):
        index.extend(text[start : start + step])
    assert len(index) == len(text)
    assert index.after(tuple(run)) == last_follower(text, run)


def drafts() -> st.SearchStrategy[Draft]:
    """Each guess with up to three forced ids after it."""

    def build(runs: list[list[int]]) -> Draft:
        ends = np.cumsum([0, *map(len, runs)]).tolist()
        return Draft(tuple(i for run in runs for i in run), tuple(ends))

    return st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=5).map(build)


@given(drafts(), st.integers(0, 25))
def test_a_draft_is_cut_before_a_guess(draft: Draft, room: int) -> None:
    short = draft.within(room)
    assert len(short.ids) <= room
    assert short.ids == draft.ids[: len(short.ids)]
    assert short.draws == draft.draws[: short.num_guesses + 1]
    assert short.draws[-1] == len(short.ids)
    if short.num_guesses < draft.num_guesses:
        assert draft.draws[short.num_guesses + 1] > room, "the next would not have fitted"


def test_no_draft_draws_one_token() -> None:
    assert (NO_DRAFT.ids, NO_DRAFT.draws, NO_DRAFT.num_guesses) == ((), (0,), 0)


@given(texts, texts)
def test_what_agrees_is_the_common_start(ids: list[int], tokens: list[int]) -> None:
    count = num_agreeing(ids, tokens)
    assert ids[:count] == tokens[:count]
    rest = list(zip(ids[count:], tokens[count:], strict=False))
    assert not rest or rest[0][0] != rest[0][1]


def test_a_habit_is_the_last_token_and_how_often_it_came() -> None:
    habits = Habits()
    assert habits.guess("", 5) is None
    for token_id in (1, 2, 2, 2):
        habits.saw("", 5, token_id)
    assert habits.guess("", 5) == (2, 3)
    habits.saw("", 5, 1)
    assert habits.guess("", 5) == (1, 1)
    assert habits.guess("other", 5) is None, "namespaces learn nothing from each other"


def test_habits_are_bounded() -> None:
    habits = Habits()
    habits.MAX_STATES = 10  # type: ignore[misc]
    for state in range(25):
        habits.saw("", state, 1)
        assert habits.guess("", state) == (1, 1)
    assert sum(habits.guess("", state) is not None for state in range(25)) <= 10


def test_odds_begin_at_the_prior_and_follow_what_happens_of_late() -> None:
    odds = Odds(0.4)
    assert odds.estimate == 0.4
    for _ in range(300):
        odds.learn(is_right=True)
    assert odds.estimate > 0.9
    for _ in range(300):
        odds.learn(is_right=False)
    assert odds.estimate < 0.1, "a text that stopped repeating itself is soon left alone"


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(1, 200))
def test_drafts_take_only_what_a_step_has_left(sizes: list[int], budget: int) -> None:
    room = draft_room(sum(sizes), len(sizes), budget)
    assert room >= 0
    assert room == 0 or sum(sizes) + room * len(sizes) <= budget


def test_the_more_run_side_by_side_the_better_a_guess_has_to_be() -> None:
    odds = [worthwhile_odds(n) for n in range(1, 200)]
    assert odds == sorted(odds)
    assert 0 < odds[0] < odds[-1] < 1
