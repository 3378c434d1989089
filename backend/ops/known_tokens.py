"""Log-probabilities that a gen asked for, of the tokens before it and its own."""

from __future__ import annotations

from sestina.backend.scheduler.sequence import Scores, Sequence
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.params import SamplingParams
from sestina.lang.session import TokenLogprob


class KnownTokens:
    """Entries of a sequence's tokens from `first` on; `until` is the next one to be scored."""

    def __init__(
        self, sequence: Sequence, start: int, params: SamplingParams, tokenizer: Tokenizer
    ) -> None:
        """start: where the generation begins; logprob_start_len may ask for earlier tokens."""
        asked = params.logprob_start_len
        self._asked = None if asked is None or asked < 0 else asked
        self.begin(start)
        self.until = max(1, self.first)
        self._sequence = sequence
        self._tokenizer = tokenizer
        self._with_text = bool(params.return_text_in_logprobs)
        self._entries: dict[int, TokenLogprob] = {}

    def begin(self, start: int) -> None:
        """The generation begins here: what was generated before is prompt."""
        self.first = start if self._asked is None else min(self._asked, start)

    def note(
        self, index: int, token_id: int, logprob: float | None, top: tuple[tuple[int, float], ...]
    ) -> None:
        """Token number `index` has this log-probability; top: the likeliest instead, best first."""
        self._entries[index] = TokenLogprob(
            token_id,
            logprob,
            self._text_of(token_id),
            tuple((i, p, self._text_of(i)) for i, p in top),
        )
        self.until = max(self.until, index + 1)

    def note_all(self, scores: Scores) -> None:
        """What a pass tells of several tokens of the sequence."""
        for i, (logprob, top) in enumerate(zip(scores.logprobs, scores.top, strict=True)):
            index = scores.first + i
            self.note(index, int(self._sequence.tokens[index]), logprob, top)

    def _text_of(self, token_id: int) -> str | None:
        return self._tokenizer.decode((token_id,)) if self._with_text else None

    def between(self, first: int, end: int) -> tuple[TokenLogprob, ...]:
        """The entries of tokens [first, end); a sequence's first token has no log-probability."""
        scored = tuple(self._entries[i] for i in range(max(first, 1), end))
        if first > 0:
            return scored
        return (TokenLogprob(int(self._sequence.tokens[0]), None), *scored)
