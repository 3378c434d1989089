"""Guessing what a generation draws next, from its own text and from what its grammar leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar import Matcher
from sestina.backend.scheduler.drafting import NO_DRAFT, Draft, Habits, NgramIndex, Odds
from sestina.lang.errors import ConstraintError

PRIORS = {"3 tokens": 0.8, "habit": 0.9, "2 tokens": 0.45, "habit, once": 0.7, "1 token": 0.4}
"""Where guesses come from, most trusted first, and how often each is right in extractions."""

_RUN_LENGTHS = {name: int(name[0]) if name[0].isdigit() else 0 for name in PRIORS}
"""Tokens before the guess that each source looks at; 0: a habit looks at the grammar's state."""

HIGHEST_ODDS = 0.85
"""Where a guess has to be better than this to be worth its row, no guesses are made at all."""


MANY = 1 << 30
"""More tokens than any vocabulary has."""


class Guesses:
    """What an engine has learned about guessing, all programs together."""

    def __init__(self, max_guesses: int) -> None:
        self.max_guesses = max_guesses
        self.habits = Habits()
        self.odds = {source: Odds(prior) for source, prior in PRIORS.items()}


class _Guess(NamedTuple):
    token_id: int
    source: str


class Speculation:
    """The drafts of one generation.

    ends: ids that end the text, which are never guessed. with_forced: whether what the grammar
    forces may come between guesses.
    """

    def __init__(
        self, guesses: Guesses, namespace: str, ends: frozenset[int], *, with_forced: bool
    ) -> None:
        self._learned = guesses
        self._namespace = namespace
        self._ends = ends
        self._with_forced = with_forced
        self._index = NgramIndex()
        self._guesses: list[_Guess] = []

    def is_worthwhile(self, enough: float) -> bool:
        """Whether any guess may have such odds."""
        return self._learned.max_guesses > 0 and enough <= HIGHEST_ODDS

    def propose(
        self, tokens: NDArray[np.int32], matcher: Matcher | None, num_left: int, enough: float
    ) -> Draft:
        """What may follow `tokens`, which the matcher has read, as long as its odds are `enough`.

        The draft leaves room for a draw after its last guess: it is shorter than `num_left`.
        """
        self._guesses.clear()
        self._index.extend(tokens[len(self._index) :].tolist())
        twin = None if matcher is None else matcher.fork()
        try:
            return self._walk(tuple(tokens[-NgramIndex.LONGEST :].tolist()), twin, num_left, enough)
        except ConstraintError:
            return NO_DRAFT  # what is wrong with the grammar shows where the text meets it

    def _walk(
        self, tail: tuple[int, ...], twin: Matcher | None, num_left: int, enough: float
    ) -> Draft:
        ids: list[int] = []
        draws = [0]
        chance = 1.0
        while len(draws) <= self._learned.max_guesses:
            guess = self._guess(tail, twin)
            if guess is None:
                break
            self._guesses.append(guess)
            chance *= self._learned.odds[guess.source].estimate
            if chance < enough:
                break
            new = [guess.token_id, *_forced(twin, num_left - len(ids) - 1)]
            if len(ids) + len(new) >= num_left or (twin is not None and twin.is_complete()):
                break
            if len(new) > 1 and not self._with_forced:
                break
            ids += new
            draws.append(len(ids))
            tail = (*tail, *new)[-NgramIndex.LONGEST :]
        return Draft(tuple(ids), tuple(draws)) if ids else NO_DRAFT

    def _guess(self, tail: tuple[int, ...], twin: Matcher | None) -> _Guess | None:
        """The most trusted guess that is allowed and ends nothing; the matcher takes it."""
        for guess in self._candidates(tail, twin):
            if guess.token_id in self._ends:
                return None
            if twin is None or twin.accept_token(guess.token_id):
                return guess
        return None

    def _candidates(self, tail: tuple[int, ...], twin: Matcher | None) -> Iterator[_Guess]:
        habit = None
        if twin is not None:
            habit = self._learned.habits.guess(self._namespace, twin.state)
        for source, length in _RUN_LENGTHS.items():
            token_id: int | None = None
            if length:
                token_id = self._index.after(tail[-length:]) if len(tail) >= length else None
            elif habit is not None and (habit[1] > 1) == (source == "habit"):
                token_id = habit[0]
            if token_id is not None:
                yield _Guess(token_id, source)

    def num_allowed(self, mask: NDArray[np.int32]) -> int:
        """How many tokens a packed mask allows; MANY where nobody wants to know. 2 us."""
        if not self._learned.max_guesses:
            return MANY
        return int(np.bitwise_count(mask.view(np.uint32)).sum())

    def saw(self, nth: int, token_id: int) -> None:
        """The nth token since `propose` was drawn."""
        if nth < len(self._guesses):
            guess = self._guesses[nth]
            self._learned.odds[guess.source].learn(is_right=guess.token_id == token_id)

    def saw_state(self, state: int, num_allowed: int, token_id: int) -> None:
        """A token was drawn where the grammar was in this state, and allowed so many."""
        if num_allowed <= Habits.FEW:
            self._learned.habits.saw(self._namespace, state, token_id)


def _forced(twin: Matcher | None, num_left: int) -> list[int]:
    """What the grammar forces next, all of which the matcher then has read."""
    if twin is None:
        return []
    out: list[int] = []
    while run := twin.forced_tokens(num_left - len(out)):
        for token_id in run:
            twin.accept_token(token_id)
        out += run
    return out
