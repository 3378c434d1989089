"""A gen under way on one sequence: sampling, forced runs, stops, text and log-probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar import CompiledGrammar
from sestina.backend.ops.output_text import OutputText, kept_tokens
from sestina.backend.sampling.penalties import changes_logits, forbidden_ids
from sestina.backend.sampling.sampler import Sampled, SampleRow
from sestina.backend.sampling.stop import StopAutomaton
from sestina.backend.scheduler.scheduler import Scheduler
from sestina.backend.scheduler.sequence import (
    MAX_ENDS,
    NEVER,
    Counters,
    Drawing,
    Scores,
    Sequence,
)
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.errors import InternalError, SestinaError
from sestina.lang.params import SamplingParams
from sestina.lang.session import GenMeta, TokenLogprob


@dataclass(frozen=True, slots=True)
class GenRequest:
    """What to generate: `params` resolved, `seed` final, the constraint and stops compiled."""

    params: SamplingParams
    seed: int
    grammar: CompiledGrammar | None = None
    stop_regexes: tuple[StopAutomaton, ...] = ()


@dataclass(frozen=True, slots=True)
class GenResult:
    """`text` is the value; `tail` is its end that no kept token covers (a stop cut a token in two):
    it has to be tokenised again with whatever follows."""

    text: str
    tail: str
    meta: GenMeta


@dataclass(frozen=True, slots=True)
class GenCallbacks:
    """Where a generation reports: text as it becomes certain (None: nobody reads it before the
    end), then a result or an error."""

    on_text: Callable[[str, tuple[int, ...], tuple[TokenLogprob, ...]], None] | None
    on_result: Callable[[GenResult], None]
    on_error: Callable[[SestinaError], None]


@dataclass(slots=True)
class _Known:
    """Log-probabilities of the sequence's tokens from `first` on; `until` is the next to score."""

    first: int
    until: int
    entries: dict[int, TokenLogprob] = field(default_factory=dict)


class Generation:
    """The scheduler's task for one gen; see `sestina.backend.scheduler.sequence.Task`."""

    def __init__(
        self,
        request: GenRequest,
        sequence: Sequence,
        tokenizer: Tokenizer,
        scheduler: Scheduler,
        callbacks: GenCallbacks,
    ) -> None:
        self._request = request
        self._params = request.params
        self._sequence = sequence
        self._tokenizer = tokenizer
        self._scheduler = scheduler
        self._callbacks = callbacks
        self._eos_ids = tokenizer.eos_ids
        self._counters = Counters()
        grammar = request.grammar
        self._matcher = None if grammar is None else grammar.matcher()
        self._output = OutputText(
            tokenizer,
            request.params,
            request.stop_regexes,
            None if grammar is None else (lambda text: _is_complete(grammar, text)),
        )
        self._start = self._seen = len(sequence)  # tokens from `seen` on are yet to be looked at
        self._num_reported = 0  # ids
        self._finish: tuple[str, str | int | None] | None = None
        self._known: _Known | None = None
        if self._params.return_logprob:
            asked = self._params.logprob_start_len
            first = self._start if asked is None or asked < 0 else min(asked, self._start)
            self._known = _Known(first, max(1, first))

    # ---- what the scheduler asks

    @property
    def score_from(self) -> int | None:
        return None if self._known is None else self._known.until

    @property
    def num_top(self) -> int:
        return self._params.top_logprobs_num or 0

    @property
    def wants_sample(self) -> bool:
        return self._finish is None

    @property
    def counters(self) -> Counters:
        self._catch_up()
        return self._counters

    @property
    def drawing(self) -> Drawing:
        params, num_ids = self._params, self._tokenizer.vocab_size
        ends = (*(params.stop_token_ids or ()), *(() if params.ignore_eos else self._eos_ids))
        has_mask = self._matcher is not None or self._scheduler.model.config.vocab_size != num_ids
        num_changed = NEVER if changes_logits(params) else params.min_tokens or 0
        return Drawing(
            params=params,
            seed=self._request.seed,
            start=self._start,
            # The last one is told: it ends the text.
            quiet_until=self._start + (params.max_tokens or 0) - 1 if self._is_quiet(ends) else 0,
            ends=ends[:MAX_ENDS],
            num_mask_words=-(-num_ids // 32) if has_mask else 0,
            changed_until=self._start + num_changed,
        )

    def _is_quiet(self, ends: SequenceOf[int]) -> bool:
        """Whether tokens other than these need not be looked at as they come."""
        return (
            self._callbacks.on_text is None
            and self._matcher is None
            and self._known is None
            and not (self._params.stop or self._request.stop_regexes)
            and len(ends) <= MAX_ENDS
        )

    def fill_mask(self, row: NDArray[np.int32]) -> None:
        """What the grammar allows; without one, all of the vocabulary.

        A model may have more logits than its vocabulary has ids; those are never drawn.
        """
        if self._matcher is not None:
            self._matcher.fill_mask(row, self._num_left)
            return
        num_ids = self._tokenizer.vocab_size
        row[:] = 0
        row[: num_ids // 32] = -1
        if num_ids % 32:
            row[num_ids // 32] = (1 << (num_ids % 32)) - 1

    def sample_row(self, mask: NDArray[np.int32] | None) -> SampleRow:
        output = self._sequence.tokens[self._start :]
        return SampleRow(
            params=self._params,
            seed=self._request.seed,
            position=len(output),
            prompt_ids=self._sequence.tokens[: self._start],
            output_ids=output,
            forbidden_ids=forbidden_ids(self._params, len(output), self._eos_ids, mask),
        )

    # ---- what the scheduler tells

    def begin(self) -> None:
        """Append what the grammar forces from the start, then leave the rest to the scheduler."""
        if self._num_left > 0:
            self._append_forced()
            self._go_on()
            return
        self._finish = ("length", None)  # max_tokens=0 asks for the text to be computed, no more
        self._sequence.task = self
        if self._sequence.num_pending:
            self._scheduler.add(self._sequence)
        else:
            self._go_on()

    def on_sampled(self, sampled: Sampled) -> None:
        if sampled.id < 0:
            raise InternalError(
                "no token can be drawn: the mask allows none, or a logit is NaN or infinite"
            )
        self._catch_up()
        self._counters.sampled += 1
        if not self._ends_at(sampled.id):
            if self._matcher is not None and not self._matcher.accept_token(sampled.id):
                raise InternalError(f"the mask allows token {sampled.id}, the matcher does not")
            if self._known is not None:
                self._know(len(self._sequence), sampled.id, sampled.logprob, sampled.top)
            self._append(sampled.id)
            self._append_forced()
        self._go_on()

    def on_scores(self, scores: Scores) -> None:
        for i, (logprob, top) in enumerate(zip(scores.logprobs, scores.top, strict=True)):
            index = scores.first + i
            self._know(index, int(self._sequence.tokens[index]), logprob, top)

    def on_computed(self) -> None:
        self._go_on()

    def on_error(self, error: SestinaError) -> None:
        self._sequence.task = None
        self._callbacks.on_error(error)

    # ---- inside

    def _catch_up(self) -> None:
        """Take note of the tokens that the scheduler appended without a word."""
        start, self._seen = self._seen, len(self._sequence)
        if start < self._seen:
            self._counters.sampled += self._seen - start
            self._output.push(self._sequence.tokens[start:].tolist())

    @property
    def _num_left(self) -> int:
        return (self._params.max_tokens or 0) - (len(self._sequence) - self._start)

    def _ends_at(self, token_id: int) -> bool:
        """Whether this id ends the text; such an id is part of neither the text nor the tokens."""
        complete = self._matcher is None or self._matcher.is_accepting()
        if token_id in (self._params.stop_token_ids or ()) and complete:
            self._finish = ("stop", token_id)
        elif token_id in self._eos_ids and self._matcher is not None:
            self._finish = ("grammar", token_id)  # the mask allows it only where complete
        elif token_id in self._eos_ids and not self._params.ignore_eos:
            self._finish = ("stop", token_id)
        return self._finish is not None

    def _append(self, token_id: int) -> None:
        """One more token of output, already accepted by the matcher."""
        self._sequence.append((token_id,), is_text=False)
        self._seen += 1
        matched = self._output.push((token_id,))
        if matched is not None:
            self._finish = ("stop", matched)
        elif self._matcher is not None and self._matcher.is_complete():
            self._finish = ("grammar", None)
        elif self._num_left == 0:
            self._finish = ("length", None)

    def _append_forced(self) -> None:
        """What the grammar forces next joins the sequence as a mini-prefill."""
        if self._matcher is None:
            return
        forced: deque[int] = deque()
        while self._finish is None and (
            forced or (forced := deque(self._matcher.forced_tokens(self._num_left)))
        ):
            token_id = forced.popleft()
            if not self._matcher.accept_token(token_id):
                raise InternalError(f"the matcher refuses token {token_id} that it forced")
            self._counters.forced += 1
            self._append(token_id)

    def _go_on(self) -> None:
        """Report what is new, then end, or wait for the scheduler to compute more."""
        if self._finish is not None and not self._has_scores_to_come:
            self._sequence.task = None
            self._end()
            return
        self._report()
        self._sequence.task = self
        self._scheduler.add(self._sequence)

    @property
    def _has_scores_to_come(self) -> bool:
        """Forced (and prompt) tokens get their log-probabilities from a later forward pass."""
        return self._known is not None and self._known.until < len(self._sequence)

    def _report(self) -> None:
        """Send the text that is certain, with the ids and log-probabilities known since."""
        if self._callbacks.on_text is None:
            return
        end = len(self._sequence)
        if self._known is not None:
            end = min(end, max(self._known.until, self._start))
        first = self._start + self._num_reported
        ids = tuple(int(i) for i in self._sequence.tokens[first:end])
        text = self._output.take()
        if text or ids:
            self._num_reported += len(ids)
            self._callbacks.on_text(text, ids, self._entries(first, end))

    def _end(self) -> None:
        reason, matched = self._finish or ("length", None)
        tail = ""
        if reason == "stop" and isinstance(matched, str):
            output = [int(i) for i in self._sequence.tokens[self._start :]]
            num_kept, tail = kept_tokens(self._tokenizer, output, self._output.text)
            self._scheduler.truncate(self._sequence, self._start + num_kept)
        else:
            self._output.close()
        self._report()
        self._callbacks.on_result(GenResult(self._output.text, tail, self._meta(reason, matched)))

    def _meta(self, reason: str, matched: str | int | None) -> GenMeta:
        known, start, end = self._known, self._start, len(self._sequence)
        return GenMeta(
            finish_reason=reason,
            text=self._output.text,
            matched=matched,
            seed=self._request.seed,
            prefilled=self._counters.prefilled,
            cached=self._counters.cached,
            forced=self._counters.forced,
            sampled=self._counters.sampled,
            drafted=self._counters.drafted,
            accepted=self._counters.accepted,
            ids=tuple(int(i) for i in self._sequence.tokens[start:end]),
            logprobs=None if known is None else self._entries(start, end),
            prompt_logprobs=(
                None if known is None or known.first >= start else self._entries(known.first, start)
            ),
        )

    def _know(
        self, index: int, token_id: int, logprob: float | None, top: tuple[tuple[int, float], ...]
    ) -> None:
        if self._known is None:
            return
        with_text = bool(self._params.return_text_in_logprobs)

        def text_of(i: int) -> str | None:
            return self._tokenizer.decode((i,)) if with_text else None

        self._known.entries[index] = TokenLogprob(
            token_id, logprob, text_of(token_id), tuple((i, p, text_of(i)) for i, p in top)
        )
        self._known.until = max(self._known.until, index + 1)

    def _entries(self, first: int, end: int) -> tuple[TokenLogprob, ...]:
        if self._known is None:
            return ()
        scored = tuple(self._known.entries[i] for i in range(max(first, 1), end))
        if first > 0:
            return scored
        return (TokenLogprob(int(self._sequence.tokens[0]), None), *scored)


def _is_complete(grammar: CompiledGrammar, text: str) -> bool:
    automaton = grammar.automaton
    return automaton.is_accepting(automaton.advance(automaton.start, text.encode()))
