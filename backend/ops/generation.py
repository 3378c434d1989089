"""A gen under way on one sequence: sampling, forced runs, stops, text and log-probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as SequenceOf

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar import Matcher
from sestina.backend.ops.gen_request import (
    Ending,
    GenCallbacks,
    GenRequest,
    GenResult,
    new_drawing,
    new_meta,
)
from sestina.backend.ops.healing import Healing
from sestina.backend.ops.known_tokens import KnownTokens
from sestina.backend.ops.output_text import OutputText, kept_tokens
from sestina.backend.ops.speculation import MANY, Guesses, Speculation
from sestina.backend.sampling.penalties import forbidden_ids
from sestina.backend.sampling.sampler import Sampled, SampleRow
from sestina.backend.sampling.token_sets import TokenSets
from sestina.backend.scheduler.drafting import Draft, num_agreeing
from sestina.backend.scheduler.scheduler import Scheduler
from sestina.backend.scheduler.sequence import Counters, Drawing, Scores, Sequence
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.errors import ConstraintError, InternalError, SestinaError


class Generation:
    """The scheduler's task for one gen; see `sestina.backend.scheduler.sequence.Task`."""

    def __init__(
        self,
        request: GenRequest,
        sequence: Sequence,
        tokenizer: Tokenizer,
        token_sets: TokenSets,
        scheduler: Scheduler,
        guesses: Guesses,
        callbacks: GenCallbacks,
    ) -> None:
        params = request.params
        self._request = request
        self._params = params
        self._sequence = sequence
        self._tokenizer = tokenizer
        self._token_sets = token_sets
        self._scheduler = scheduler
        self._callbacks = callbacks
        self._eos_ids = tokenizer.eos_ids
        self._end_ids = frozenset((*(params.stop_token_ids or ()), *tokenizer.eos_ids))
        self._counters = Counters()
        grammar, healed = request.grammar, request.healed
        self._matcher = None if grammar is None else grammar.matcher()
        self._healing: Healing | None = None
        if healed is not None:
            self._healing = Healing(healed, tokenizer, request.seed, is_free=grammar is None)
            self._matcher = healed.grammar.matcher()
        self._output = OutputText(
            tokenizer,
            params,
            request.stop_regexes,
            None if grammar is None else request.is_complete,
        )
        self._has_stops = bool(params.stop or request.stop_regexes)
        self._prompt_len = len(sequence)
        self._start = self._prompt_len  # of the output
        self._overlap = 0  # bytes of its first token that are the prompt's
        self._end_len = self._start + (params.max_tokens or 0)
        self._num_seen = self._start  # tokens that are counted
        self._num_read = self._start  # tokens whose text is in `output`
        self._num_reported = self._start
        self._finish: Ending | None = None
        self._num_allowed: list[int] = []  # by each mask of the pass
        self._speculation = Speculation(
            guesses,
            sequence.namespace,
            self._end_ids,
            # What is forced gets its log-probability from a pass of its own.
            with_forced=not params.return_logprob,
        )
        self._known: KnownTokens | None = None
        if params.return_logprob:
            self._known = KnownTokens(sequence, self._start, params, tokenizer)
        self.drawing = self._new_drawing()

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
    def quiet_until(self) -> int:
        """Up to the last token, which ends the text, unless each one has to be looked at."""
        if not self._can_be_quiet or self._output.may_be_stopping or self._may_guess:
            return 0
        return self._end_len - 1

    @property
    def _can_be_quiet(self) -> bool:
        """Whether tokens need not be looked at one by one."""
        return self._callbacks.on_text is None and self._matcher is None and self._known is None

    @property
    def _may_guess(self) -> bool:
        return self._healing is None and self._speculation.is_worthwhile(
            self._scheduler.worthwhile_odds
        )

    def _new_drawing(self) -> Drawing:
        vocab_size, model_size = self._tokenizer.vocab_size, self._scheduler.model.config.vocab_size
        return new_drawing(
            self._params,
            self._seed,
            self._start,
            watched=self._watched() if self._can_be_quiet else None,
            # A model may have more logits than its vocabulary has ids; those are never drawn.
            has_mask=self._matcher is not None or model_size != vocab_size,
            num_mask_words=self._token_sets.num_words,
            is_healing=self._healing is not None,
        )

    def _watched(self) -> NDArray[np.int32]:
        """Tokens that may end the text, or begin what does."""
        params = self._params
        ends = (*(params.stop_token_ids or ()), *(() if params.ignore_eos else self._eos_ids))
        # A stop of no characters that can be encoded is never met.
        starts = {stop.encode("utf-8", "surrogatepass")[0] for stop in params.stop or ()}
        return self._token_sets.of(ends, starts)

    def fill_mask(self, row: NDArray[np.int32]) -> None:
        """What the grammar allows; without one, all of the vocabulary."""
        healing, num_left = self._healing, self._num_left
        if healing is None:
            self._num_allowed = [self._fill_mask(row, self._matcher, num_left)]
        else:
            self._num_allowed = [self._fill_mask(row, self._matcher, healing.budget(num_left))]
            healing.allow_same(row)

    def _fill_mask(self, row: NDArray[np.int32], matcher: Matcher | None, num_left: int) -> int:
        """What is allowed where the matcher stands; returns how many tokens, or MANY."""
        if matcher is not None:
            matcher.fill_mask(row, num_left)
            return self._speculation.num_allowed(row)
        row[:] = 0
        row[: self._token_sets.num_words] = self._token_sets.everything()
        return MANY

    def sample_row(self, mask: NDArray[np.int32] | None) -> SampleRow:
        return self._sample_row(self._sequence.tokens[self._start :], mask)

    def sample_rows(self, draft: Draft) -> list[SampleRow]:
        rows: list[SampleRow] = []
        matcher = None if self._matcher is None else self._matcher.fork()
        output = np.append(self._sequence.tokens[self._start :], np.array(draft.ids, np.int32))
        num_known, num_words = len(output) - len(draft.ids), self.drawing.num_mask_words
        self._num_allowed.clear()
        done = 0
        for offset in draft.draws:
            if matcher is not None:
                for token_id in draft.ids[done:offset]:
                    matcher.accept_token(token_id)
                done = offset
            mask = np.empty(num_words, np.int32) if num_words else None
            try:
                if mask is not None:
                    num_allowed = self._fill_mask(mask, matcher, self._num_left - offset)
                    self._num_allowed.append(num_allowed)
            except ConstraintError:
                if not offset:
                    raise
                break  # where the text comes to this, it fails then
            rows.append(self._sample_row(output[: num_known + offset], mask))
        return rows

    def _sample_row(self, output: NDArray[np.int32], mask: NDArray[np.int32] | None) -> SampleRow:
        return SampleRow(
            params=self._params,
            seed=self._seed,
            position=len(output),
            prompt_ids=self._sequence.tokens[: self._start],
            output_ids=output,
            mask=mask,
            forbidden_ids=self._forbidden_ids(len(output), mask),
        )

    def _forbidden_ids(self, num_output: int, mask: NDArray[np.int32] | None) -> tuple[int, ...]:
        if self._healing is not None:
            return ()  # nothing ends the text yet
        return forbidden_ids(self._params, num_output, self._eos_ids, mask)

    @property
    def _seed(self) -> int:
        return self._request.seed if self._healing is None else self._healing.seed

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
        self._catch_up()
        self._take(0, sampled)
        self._go_on()

    def on_drawn_ahead(self, draft: Draft, sampled: SequenceOf[Sampled]) -> None:
        self._catch_up()
        before, num_drawn = len(self._sequence), 0
        for offset, one in zip(draft.draws, sampled, strict=False):
            came = self._sequence.tokens[before:].tolist()
            if self._finish is not None or came != list(draft.ids[:offset]):
                break
            self._take(num_drawn, one)
            num_drawn += 1
        came = self._sequence.tokens[before:].tolist()
        self._scheduler.forget(self._sequence, before + num_agreeing(draft.ids, came))
        self._counters.drafted += len(sampled) - 1
        self._counters.accepted += num_drawn - 1
        self._go_on()

    def _take(self, nth: int, sampled: Sampled) -> None:
        """Append a token that was drawn, the nth of a pass, and what the grammar forces after."""
        if sampled.id < 0:
            raise InternalError(
                "no token can be drawn: the mask allows none, or a logit is NaN or infinite"
            )
        if self._matcher is not None and self._healing is None:
            self._speculation.saw_state(self._matcher.state, self._num_allowed[nth], sampled.id)
        self._speculation.saw(nth, sampled.id)
        self._count(sampled.id, is_forced=False)
        if sampled.id in self._end_ids:
            complete = self._matcher is None or self._matcher.is_accepting()
            self._finish = self._request.ending(sampled.id, self._eos_ids, is_complete=complete)
        if self._finish is None:
            if self._matcher is not None and not self._matcher.accept_token(sampled.id):
                raise InternalError(f"the mask allows token {sampled.id}, the matcher does not")
            if self._known is not None:
                self._known.note(len(self._sequence), sampled.id, sampled.logprob, sampled.top)
            self._append(sampled.id)
            self._append_forced()

    def on_scores(self, scores: Scores) -> None:
        if self._known is not None:
            self._known.note_all(scores)

    def on_computed(self) -> None:
        self._go_on()

    def on_error(self, error: SestinaError) -> None:
        self._sequence.task = None
        self._callbacks.on_error(error)

    # ---- inside

    def _catch_up(self) -> None:
        """Count the tokens that the scheduler appended without a word."""
        if self._can_be_quiet and self._finish is None:
            num_tokens = len(self._sequence)
            self._counters.sampled += num_tokens - self._num_seen
            self._num_seen = num_tokens

    def _read(self) -> str | None:
        """Decode the tokens that are not yet; returns the stop that they complete, if any."""
        start, self._num_read = self._num_read, len(self._sequence)
        if start >= self._num_read:
            return None
        return self._output.push(self._sequence.tokens[start:].tolist())

    @property
    def _num_left(self) -> int:
        return self._end_len - self._num_seen

    def _append(self, token_id: int) -> None:
        """One more token of output, already accepted by the matcher."""
        self._sequence.append_token(token_id)
        self._num_seen += 1
        if self._healing is not None:
            self._heal(self._healing, token_id)
        # A stop ends the text at its token; other text is read when somebody wants it.
        matched = self._read() if self._has_stops else None
        if matched is not None:
            self._finish = ("stop", matched)
        elif self._matcher is not None and self._matcher.is_complete():
            self._finish = ("grammar", None)
        elif self._num_left == 0:
            self._finish = ("length", None)

    def _count(self, token_id: int, *, is_forced: bool) -> None:
        """Another token is about to be appended, or to end the text."""
        if self._healing is not None and self._healing.is_prompt(token_id):
            self._counters.healed += 1
        elif is_forced:
            self._counters.forced += 1
        else:
            self._counters.sampled += 1

    def _heal(self, healing: Healing, token_id: int) -> None:
        """The token just appended begins in the bytes that were taken back."""
        if healing.is_prompt(token_id):
            self._start = self._num_read = self._num_reported = len(self._sequence)
            self._end_len += 1
            if self._known is not None:
                self._known.begin(self._start)
        else:
            self._overlap = healing.num_left
            self._output.skip(self._overlap)
        healing.take(token_id)
        if not healing.num_left:
            self._healing = None
            if self._request.grammar is None:
                self._matcher = None
            self.drawing = self._new_drawing()
            self._scheduler.redraw(self._sequence, self)

    def _append_forced(self) -> None:
        """What the grammar forces next joins the sequence as a mini-prefill."""
        forced: deque[int] = deque()
        while self._finish is None and self._matcher is not None:
            if not forced:
                forced.extend(self._matcher.forced_tokens(self._num_left))
            if not forced:
                break
            token_id = forced.popleft()
            if not self._matcher.accept_token(token_id):
                raise InternalError(f"the matcher refuses token {token_id} that it forced")
            self._count(token_id, is_forced=True)
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
        if self._finish is None and self._may_guess:
            self._guess()

    def _guess(self) -> None:
        """Let the scheduler check, along with the next token, what may come after it."""
        draft = self._speculation.propose(
            self._sequence.tokens, self._matcher, self._num_left, self._scheduler.worthwhile_odds
        )
        self._scheduler.guess(self._sequence, self, draft)

    @property
    def _has_scores_to_come(self) -> bool:
        """Forced (and prompt) tokens get their log-probabilities from a later forward pass."""
        return self._known is not None and self._known.until < len(self._sequence)

    def _report(self) -> None:
        """Send the text that is certain, with the ids and log-probabilities known since."""
        if self._callbacks.on_text is None:
            return
        self._read()
        first, end = self._num_reported, len(self._sequence)
        if self._known is not None:
            end = min(end, max(self._known.until, self._start))
        ids = tuple(self._sequence.tokens[first:end].tolist())
        text = self._output.take()
        if text or ids:
            self._num_reported += len(ids)
            known = () if self._known is None else self._known.between(first, end)
            self._callbacks.on_text(text, ids, known)

    def _end(self) -> None:
        reason, matched = self._finish or ("length", None)
        tail = ""
        self._read()
        if reason == "stop" and isinstance(matched, str):
            output = self._sequence.tokens[self._start :].tolist()
            num_kept, tail = kept_tokens(self._tokenizer, output, self._output.text, self._overlap)
            if self._overlap and not num_kept:
                self._start = self._prompt_len  # what was taken back comes back
            self._scheduler.truncate(self._sequence, self._start + num_kept)
            self._num_read = len(self._sequence)
        else:
            self._output.close()
        self._report()
        self._scheduler.settle(self._sequence)
        ids = tuple(self._sequence.tokens[self._start :].tolist())
        text = self._output.text
        ending = reason, matched
        meta = new_meta(self._request, ending, text, self._start, ids, self._counters, self._known)
        result = GenResult(text, tail, meta)
        if self._overlap and len(self._sequence) == self._prompt_len and self._request.healed:
            self._sequence.append(self._request.healed.ids, is_text=True)
        self._callbacks.on_result(result)
