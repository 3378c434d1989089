"""The text of a generation: whole characters, stops held back, and which tokens it covers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sestina.backend.sampling.detokenizer import Detokenizer
from sestina.backend.sampling.stop import StopAutomaton, StopChecker
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.params import SamplingParams


class OutputText:
    """Turns generated ids into text that is certain to stay.

    A stop ends the text before its match; one that is complete within the first `min_tokens` tokens
    is passed over. With a
    constraint, `may_stop(text)` tells whether the text before a match is complete: if not, that
    occurrence is part of the value, as cutting there would leave what the constraint forbids.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        params: SamplingParams,
        regexes: tuple[StopAutomaton, ...],
        may_stop: Callable[[str], bool] | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)
        self._stop = StopChecker(params.stop or (), regexes)
        self._never_stops = not (params.stop or regexes)
        # What does not decode becomes U+FFFD, whatever its bytes are.
        unreadable = any(stop.startswith("\ufffd") for stop in params.stop or ())
        self._is_any_start = bool(regexes) or unreadable
        self._may_stop = may_stop
        self._num_free = params.min_tokens or 0
        self._pieces: list[str] = []
        self._num_taken = 0

    def skip(self, num_bytes: int) -> None:
        """The first so many bytes are not output; before any token is pushed."""
        self._detokenizer = Detokenizer(self._tokenizer, num_bytes)

    @property
    def text(self) -> str:
        """Everything certain so far."""
        return "".join(self._pieces)

    @property
    def may_be_stopping(self) -> bool:
        """Whether a stop may already have begun, or begin in any token; otherwise it begins in one
        with the first byte of a stop text."""
        if self._is_any_start:
            return True
        return not self._never_stops and (self._stop.is_holding or self._detokenizer.has_pending)

    def push(self, ids: Sequence[int]) -> str | None:
        """More tokens, only one where there are stops; returns the stop completed, if any."""
        text = self._detokenizer.push(ids)
        if self._never_stops:
            self._pieces.append(text)
            return None
        self._num_free -= len(ids)
        step = self._stop.push(text, self._may_stop_after)
        self._pieces.append(step.emit)
        return step.matched

    def _may_stop_after(self, emit: str) -> bool:
        """Whether a stop that begins after `emit`, new certain text, ends the generation."""
        if self._num_free >= 0:
            return False
        return self._may_stop is None or self._may_stop(self.text + emit)

    def close(self) -> None:
        """No more tokens, and no stop matched: what was held back is text after all."""
        step = self._stop.push(self._detokenizer.finish())
        self._pieces += [step.emit, self._stop.finish()]

    def take(self) -> str:
        """The certain text that was not taken before."""
        start, self._num_taken = self._num_taken, len(self._pieces)
        return "".join(self._pieces[start:])


def kept_tokens(
    tokenizer: Tokenizer, ids: Sequence[int], text: str, num_skipped: int = 0
) -> tuple[int, str]:
    """How many leading ids lie wholly inside `text`, and the rest of the text after them.

    `text` is a prefix of what `ids` decode to after their first `num_skipped` bytes, cut by a stop,
    possibly inside a token.
    """
    detokenizer = Detokenizer(tokenizer, num_skipped)
    num_chars = num_kept = kept_chars = 0
    for count, token_id in enumerate(ids, start=1):
        num_chars += len(detokenizer.push((token_id,)))
        if num_chars > len(text):
            break
        if not detokenizer.has_pending:
            num_kept, kept_chars = count, num_chars
    return num_kept, text[kept_chars:]
