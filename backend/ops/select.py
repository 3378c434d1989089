"""A select under way: every option is scored after the same context, sharing its KV."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sestina.backend.sampling.sampler import Sampled, SampleRow
from sestina.backend.scheduler.scheduler import Scheduler
from sestina.backend.scheduler.sequence import Counters, Drawing, Scores, Sequence
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.choices import pick, score_choices
from sestina.lang.errors import InternalError, InvalidParams, SestinaError
from sestina.lang.ir import Select
from sestina.lang.session import ChoiceScore, GenMeta


class Scoring:
    """The scheduler's task for the log-probabilities of a sequence's tokens from `start` on."""

    wants_sample = False
    num_top = 0
    quiet_until = 0

    def __init__(
        self,
        sequence: Sequence,
        start: int,
        counters: Counters,
        on_result: Callable[[list[float]], None],
        on_error: Callable[[SestinaError], None],
    ) -> None:
        self.counters = counters
        self._sequence = sequence
        self._start = start
        self._logprobs: list[float] = []
        self._on_result = on_result
        self._on_error = on_error

    @property
    def score_from(self) -> int:
        return self._start + len(self._logprobs)

    def on_scores(self, scores: Scores) -> None:
        if scores.first != self.score_from:
            raise InternalError(f"scores from {scores.first}, expected {self.score_from}")
        self._logprobs += scores.logprobs

    def on_computed(self) -> None:
        self._sequence.task = None
        self._on_result(self._logprobs)

    def on_error(self, error: SestinaError) -> None:
        self._sequence.task = None
        self._on_error(error)

    @property
    def drawing(self) -> Drawing:
        raise InternalError("a scoring does not sample")

    def fill_mask(self, row: NDArray[np.int32]) -> None:
        raise InternalError("a scoring does not sample")

    def sample_row(self, mask: NDArray[np.int32] | None) -> SampleRow:
        raise InternalError("a scoring does not sample")

    def on_sampled(self, sampled: Sampled) -> None:
        raise InternalError("a scoring does not sample")


@dataclass(frozen=True, slots=True)
class SelectResult:
    """The option taken, its ids (to append to the context), and how all of them scored."""

    text: str
    ids: tuple[int, ...]
    meta: GenMeta


class Selection:
    """Scores the options of a `Select` side by side; each is a sequence branched off the context.

    The joint log-probability of an option is that of its own canonical tokens after the context.
    """

    def __init__(
        self,
        op: Select,
        context: Sequence,
        tokenizer: Tokenizer,
        scheduler: Scheduler,
        on_result: Callable[[SelectResult], None],
        on_error: Callable[[SestinaError], None],
    ) -> None:
        self._op = op
        self._context = context
        self._scheduler = scheduler
        self._on_result = on_result
        self._on_error = on_error
        self._ids = [tuple(tokenizer.encode(choice)) for choice in op.choices]
        if not op.choices:
            raise InvalidParams("select needs at least one option")
        for choice, ids in zip(op.choices, self._ids, strict=True):
            if not ids:
                raise InvalidParams(f"the option {choice!r} has no tokens to score")
        if not len(context):
            raise InvalidParams("select needs some text before it to score the choices after")
        self._counters = Counters()
        self._conditional: list[list[float] | None] = [None] * len(op.choices)
        self._unconditional: list[list[float] | None] = [None] * len(op.choices)
        self._sequences: list[Sequence] = []

    @property
    def counters(self) -> Counters:
        return self._counters

    @property
    def longest(self) -> int:
        """Tokens of the longest option."""
        return max(len(ids) for ids in self._ids)

    def cancel(self) -> None:
        """Stop computing; idempotent."""
        for sequence in self._sequences:
            sequence.task = None
            self._scheduler.remove(sequence)

    def begin(self) -> None:
        wants_unconditional = self._op.method == "unconditional_likelihood_normalized"
        for i, ids in enumerate(self._ids):
            self._score(self._context.branch_off(), ids, len(self._context), self._conditional, i)
            if not wants_unconditional:
                continue
            if len(ids) == 1:
                self._unconditional[i] = []  # nothing precedes it: no probability of its own
                continue
            alone = Sequence(self._context.namespace, self._context.account)
            self._score(alone, ids, 1, self._unconditional, i)

    def _score(
        self,
        sequence: Sequence,
        ids: SequenceOf[int],
        start: int,
        into: list[list[float] | None],
        index: int,
    ) -> None:
        def keep(logprobs: list[float]) -> None:
            into[index] = logprobs
            self._scheduler.remove(sequence)
            self._finish_if_complete()

        sequence.append(ids, is_text=True)
        sequence.task = Scoring(sequence, start, self._counters, keep, self._on_error)
        self._sequences.append(sequence)
        self._scheduler.add(sequence)

    def _finish_if_complete(self) -> None:
        wants_unconditional = self._op.method == "unconditional_likelihood_normalized"
        conditional = [c for c in self._conditional if c is not None]
        unconditional = [[0.0, *u] for u in self._unconditional if u is not None]
        if len(conditional) < len(self._ids):
            return
        if wants_unconditional and len(unconditional) < len(self._ids):
            return
        scores = score_choices(
            self._op.method, self._op.choices, conditional, unconditional or None
        )
        best = pick(scores)
        self._on_result(
            SelectResult(self._op.choices[best], self._ids[best], self._meta(best, scores))
        )

    def _meta(self, best: int, scores: SequenceOf[ChoiceScore]) -> GenMeta:
        return GenMeta(
            finish_reason="select",
            text=self._op.choices[best],
            ids=self._ids[best],
            prefilled=self._counters.prefilled,
            cached=self._counters.cached,
            choices=tuple(scores),
            label_mass=math.fsum(math.exp(score.logprob) for score in scores),
        )
