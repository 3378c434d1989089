"""A sequence: one line of tokens that the scheduler computes for a task."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sestina.backend.cache.kv_cache import KVHandle
from sestina.backend.sampling.sampler import Sampled, SampleRow
from sestina.backend.scheduler.policy import service_level
from sestina.lang.errors import SestinaError


@dataclass(slots=True)
class Counters:
    """Tokens and passes spent; the sum over sequences is what `engine.stats()` reports.

    prefilled: text tokens computed. cached: text tokens taken from the KV cache instead, each
    counted once per branch. forced / sampled: generated tokens. drafted: proposed by speculation;
    accepted: of these, confirmed by the model (they are sampled too). forward_passes: batches that
    it took part in.
    """

    prefilled: int = 0
    cached: int = 0
    forced: int = 0
    sampled: int = 0
    drafted: int = 0
    accepted: int = 0
    forward_passes: int = 0
    queued_s: float = 0.0

    def add(self, other: Counters) -> None:
        self.prefilled += other.prefilled
        self.cached += other.cached
        self.forced += other.forced
        self.sampled += other.sampled
        self.drafted += other.drafted
        self.accepted += other.accepted
        self.forward_passes += other.forward_passes
        self.queued_s += other.queued_s


@dataclass(slots=True, eq=False)
class Account:
    """What the scheduler did for one program; all its sequences share it.

    service: tokens computed so far. priority: the session's; the higher goes first.
    """

    priority: int = 0
    service: int = 0

    @property
    def level(self) -> int:
        return service_level(self.service)

    @property
    def standing(self) -> tuple[int, int]:
        """(priority, level)"""
        return self.priority, self.level


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-probabilities (natural, unmodified model) of tokens already in the sequence.

    logprobs[i] is that of token number first + i given everything before it; `top` has the most
    likely alternatives (id, logprob), best first, when asked for.
    """

    first: int
    logprobs: SequenceOf[float]
    top: SequenceOf[tuple[tuple[int, float], ...]]


class Task(Protocol):
    """What a sequence is computed for. The scheduler calls back during a step."""

    @property
    def score_from(self) -> int | None:
        """Tokens from this index (>= 1) on are to be scored; None: none."""

    @property
    def num_top(self) -> int:
        """How many alternatives to report with each scored token."""

    @property
    def wants_sample(self) -> bool:
        """Whether a next token is to be drawn once every token is computed."""

    @property
    def counters(self) -> Counters:
        """Where this task's costs are counted."""

    def sample_row(self) -> SampleRow:
        """How to draw the next token."""

    def on_sampled(self, sampled: Sampled) -> None:
        """The next token was drawn."""

    def on_scores(self, scores: Scores) -> None:
        """More tokens were scored; called in ascending order, before on_sampled."""

    def on_computed(self) -> None:
        """Everything the task wanted of the present tokens is computed (no sample wanted)."""

    def on_error(self, error: SestinaError) -> None:
        """The sequence cannot go on."""


@dataclass(eq=False)
class Sequence:
    """Tokens, how many of them are computed, and the task that wants them.

    `kv` is set while the sequence is admitted; without it nothing is computed. `reached` is the
    longest prefix ever computed or found cached, so that recomputing never counts as a cache hit.
    """

    namespace: str
    account: Account = field(default_factory=Account)
    task: Task | None = None
    kv: KVHandle | None = None
    reached: int = 0
    order: int = 0
    queued_at: float = 0.0
    is_waiting: bool = False  # in the scheduler's queue
    admitted_len: int = 0  # tokens that were cached when it last joined the batch
    _ids: NDArray[np.int32] = field(default_factory=lambda: np.empty(64, np.int32))
    _is_text: NDArray[np.bool_] = field(default_factory=lambda: np.empty(64, np.bool_))
    _len: int = 0

    def __len__(self) -> int:
        return self._len

    @property
    def tokens(self) -> NDArray[np.int32]:
        """[S] int32 view, valid until the next append."""
        return self._ids[: self._len]

    @property
    def num_computed(self) -> int:
        return 0 if self.kv is None else self.kv.computed_len

    @property
    def num_wanted(self) -> int:
        """How many tokens have to be computed for the task to go on.

        A task that only scores does not need the last token: nothing is predicted from it.
        """
        if self.task is None:
            return 0
        return self._len if self.task.wants_sample else self._len - 1

    @property
    def num_pending(self) -> int:
        return max(0, self.num_wanted - self.num_computed)

    @property
    def match_limit(self) -> int:
        """The longest prefix that may come from the cache: logits are needed from here on."""
        limit = self.num_wanted - 1
        if self.task is not None and self.task.score_from is not None:
            limit = min(limit, self.task.score_from - 1)
        return max(0, limit)

    def append(self, ids: Iterable[int], *, is_text: bool) -> None:
        """Add tokens; `is_text` tells prompt text from generated tokens, for the counters."""
        new = np.fromiter(ids, np.int32)
        end = self._len + len(new)
        if end > len(self._ids):
            capacity = max(end, 2 * len(self._ids))
            self._ids = np.resize(self._ids, capacity)
            self._is_text = np.resize(self._is_text, capacity)
        self._ids[self._len : end] = new
        self._is_text[self._len : end] = is_text
        self._len = end

    def truncate(self, length: int) -> None:
        """Drop tokens from `length` on. The KV side is the scheduler's: `Scheduler.truncate`."""
        self._len = min(self._len, length)
        self.reached = min(self.reached, length)

    def num_text(self, start: int, end: int) -> int:
        """How many of tokens [start, end) are prompt text."""
        return int(self._is_text[start:end].sum())

    def branch_off(self) -> Sequence:
        """A new sequence with the same tokens, sharing their KV through the radix tree.

        Its cached prefix is its parent's work, so it is not counted again.
        """
        return Sequence(
            self.namespace,
            self.account,
            reached=self.reached,
            _ids=self._ids.copy(),
            _is_text=self._is_text.copy(),
            _len=self._len,
        )
