"""Drafts: guesses of the next tokens, checked in the pass that would have drawn only the first.

Lossless by construction. A token is drawn at each guessed position from the model's own logits,
with the mask, the penalties and the counter-based noise that its position would have had anyway;
a guess is right if it is the very token that was drawn, and the first wrong one ends the draft.
So what comes out is what would have come without, token for token, also when sampling.

That is so for equal logits. Where a model's sums depend on how many rows its pass has (products of
bfloat16 weights do), a draft is company like any other: a near tie may fall the other way, and the
output is one that the same engine may give without. The distribution sampled from is the model's.

The guesses are looked up in the text itself (Saxena, "Prompt Lookup Decoding", 2023; Yang et al.,
"Inference with Reference", 2023): an extraction copies from its input.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Draft:
    """Tokens that may come next.

    draws: offsets into `ids`, ascending from 0, before which a token is to be drawn; the last may
    be len(ids). Each but the last is that of a guess; the other ids are what the grammar forces
    after those before them.
    """

    ids: tuple[int, ...] = ()
    draws: tuple[int, ...] = (0,)

    @property
    def num_guesses(self) -> int:
        return len(self.draws) - 1

    def within(self, num_tokens: int) -> Draft:
        """The longest start of the draft that is no longer than this.

        >>> Draft((7, 8, 9), (0, 1, 3)).within(2)
        Draft(ids=(7,), draws=(0, 1))
        """
        if num_tokens >= len(self.ids):
            return self
        draws = self.draws[: bisect_right(self.draws, num_tokens)]
        return Draft(self.ids[: draws[-1]], draws)


NO_DRAFT = Draft()


def num_agreeing(ids: Sequence[int], tokens: Sequence[int]) -> int:
    """How many leading ids of a draft are the tokens that came.

    >>> num_agreeing((5, 6, 7), [5, 6, 8, 7])
    2
    """
    agreeing = 0
    for guessed, token in zip(ids, tokens, strict=False):
        if guessed != token:
            break
        agreeing += 1
    return agreeing


class NgramIndex:
    """What last followed each run of up to `LONGEST` tokens of a text. O(1) for each token."""

    LONGEST = 3

    def __init__(self) -> None:
        self._next: dict[tuple[int, ...], int] = {}
        self._tail: tuple[int, ...] = ()
        self._len = 0

    def __len__(self) -> int:
        return self._len

    def extend(self, tokens: Sequence[int]) -> None:
        """More tokens of the text; about 1 us each."""
        tail, following = self._tail, self._next
        for token in tokens:
            for start in range(len(tail)):
                following[tail[start:]] = token
            tail = (*tail, token)[-self.LONGEST :]
        self._tail = tail
        self._len += len(tokens)

    def after(self, run: tuple[int, ...]) -> int | None:
        """What followed this run of at most LONGEST tokens when it last came; None if it never did.

        >>> index = NgramIndex()
        >>> index.extend([7, 8, 9, 7, 8, 4])
        >>> index.after((9, 7, 8)), index.after((8,)), index.after((4,))
        (4, 4, None)
        """
        return self._next.get(run)


class Habits:
    """What was drawn last in the states of grammars where few tokens are allowed.

    A model that once wrote a space after the comma does so again, whatever the document.
    """

    FEW = 64
    """Tokens allowed in a state that is worth remembering: among more, the text decides."""

    MAX_STATES = 1 << 16

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], tuple[int, int]] = {}

    def saw(self, namespace: str, state: int, token_id: int) -> None:
        """A token was drawn in a state where few are allowed."""
        key = (namespace, state)
        last, times = self._last.get(key, (token_id, 0))
        if len(self._last) >= self.MAX_STATES and not times:
            self._last.clear()
        self._last[key] = (token_id, times + 1 if token_id == last else 1)

    def guess(self, namespace: str, state: int) -> tuple[int, int] | None:
        """The token drawn there last, and how many times in a row."""
        return self._last.get((namespace, state))


class Odds:
    """How often one kind of guess has been right lately."""

    FADING = 0.98
    """What a guess still counts for after another one."""

    WEIGHT = 4.0
    """How many guesses the first estimate counts for; it never fades."""

    def __init__(self, prior: float) -> None:
        self.prior = prior
        self._right = self._seen = 0.0

    @property
    def estimate(self) -> float:
        """In (0, 1) if the prior is."""
        return (self._right + self.WEIGHT * self.prior) / (self._seen + self.WEIGHT)

    def learn(self, *, is_right: bool) -> None:
        self._right = self.FADING * self._right + is_right
        self._seen = self.FADING * self._seen + 1.0
