"""A sequence: one line of tokens that the scheduler computes for a task."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sestina.backend.cache import Lease
from sestina.backend.cache.kv_cache import KVHandle
from sestina.backend.sampling.sampler import Sampled, SampleRow
from sestina.backend.scheduler.drafting import Draft
from sestina.backend.scheduler.policy import service_level
from sestina.kernels.masked_sampling import RowSettings
from sestina.lang.errors import SestinaError
from sestina.lang.params import SamplingParams


@dataclass(slots=True)
class Counters:
    """Tokens and passes spent; the sum over sequences is what `engine.stats()` reports.

    prefilled: text tokens computed. cached: text tokens taken from the KV cache instead, each
    counted once per branch. healed: text tokens that a gen took back and drew anew. forced /
    sampled: generated tokens. drafted: proposed by speculation; accepted: of these, confirmed by
    the model (they are sampled too). forward_passes: batches that it took part in. With a seed they
    are `sestina.lang.session.Usage`.
    """

    prefilled: int = 0
    cached: int = 0
    healed: int = 0
    forced: int = 0
    sampled: int = 0
    drafted: int = 0
    accepted: int = 0
    forward_passes: int = 0
    queued_s: float = 0.0

    def add(self, other: Counters) -> None:
        self.prefilled += other.prefilled
        self.cached += other.cached
        self.healed += other.healed
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


NEVER = 1 << 62
"""A token index beyond every sequence."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a task's tokens are drawn; the same for all of them, so that it is read only once.

    params: resolved and checked against the vocabulary. settings: of one row; its position is the
    index in the sequence of the first token to be drawn, from which noise is counted.
    watched: packed int32 [W], the ids that a quiet task is told of all the same; None: no others.
    num_mask_words: length of the task's masks, 0 for none; `Task.fill_mask` is asked for one before
    the first draw after each `Scheduler.add`.
    changed_until: before the draw of a token of lower index, `Task.sample_row` is to be asked how
    single logits change.
    """

    params: SamplingParams
    settings: RowSettings
    watched: NDArray[np.int32] | None = None
    num_mask_words: int = 0
    changed_until: int = 0


class Task(Protocol):
    """What a sequence is computed for. The scheduler calls back during a step.

    `score_from`, `wants_sample` and `quiet_until` are read again at `Scheduler.add` and after
    `on_scores`. While a callback runs, and until `Scheduler.add`, nothing more is computed.
    """

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
    def quiet_until(self) -> int:
        """A drawn token of lower index, unless it is watched, is appended without `on_sampled`:
        nobody has to be told of it yet."""

    @property
    def counters(self) -> Counters:
        """Where this task's costs are counted. Forward passes are, at the latest, when the sequence
        leaves the batch or at `Scheduler.settle`."""

    @property
    def drawing(self) -> Drawing:
        """How tokens are drawn; asked for once, if `wants_sample`, and at `Scheduler.redraw`."""

    def fill_mask(self, row: NDArray[np.int32]) -> None:
        """Write over `row`, packed int32 [W] with W >= num_mask_words, what is allowed next."""

    def sample_row(self, mask: NDArray[np.int32] | None) -> SampleRow:
        """How to change the logits of the next token; `mask` int32 [W] is what is allowed."""

    def on_sampled(self, sampled: Sampled) -> None:
        """The next token was drawn; it is not in the sequence yet."""

    def on_scores(self, scores: Scores) -> None:
        """More tokens were scored; called in ascending order, before on_sampled."""

    def on_computed(self) -> None:
        """Everything the task wanted of the present tokens is computed (no sample wanted)."""

    def on_error(self, error: SestinaError) -> None:
        """The sequence cannot go on."""


class GuessingTask(Task, Protocol):
    """A task that says what may come next: see `Scheduler.guess`."""

    def sample_rows(self, draft: Draft) -> SequenceOf[SampleRow]:
        """How to draw the next token, and those after the draft's guesses: a row for each of
        `draft.draws`, or for the first ones alone."""

    def on_drawn_ahead(self, draft: Draft, sampled: SequenceOf[Sampled]) -> None:
        """`on_sampled`, of a token for each sample row. Those after the first are good as long as
        all before them were guessed right."""


@dataclass(eq=False)
class Sequence:
    """Tokens, how many of them are computed, and the task that wants them.

    `kv` is set while the sequence is admitted; without it nothing is computed. `reached` is the
    longest prefix ever computed or found cached when it was last looked at, so that recomputing
    never counts as a cache hit. keeps_lease: while it is not admitted, its cached prefix has a
    lease.

    While it is admitted, the tokens and their number lie in its row of `Rows`: one memory, which
    the scheduler appends to for all sequences at once.
    """

    namespace: str
    account: Account = field(default_factory=Account)
    task: Task | None = None
    kv: KVHandle | None = None
    keeps_lease: bool = False
    lease: Lease | None = None
    reached: int = 0
    order: int = 0
    queued_at: float = 0.0
    is_waiting: bool = False  # in the scheduler's queue
    admitted_len: int = 0  # tokens that were cached when it last joined the batch
    _ids: NDArray[np.int32] = field(default_factory=lambda: np.empty(64, np.int32))
    _len: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))  # [1]
    _text: list[tuple[int, int]] = field(default_factory=list)  # runs [start, end), ascending

    def __len__(self) -> int:
        return self._len.item()

    @property
    def tokens(self) -> NDArray[np.int32]:
        """[S] int32 view, valid until the next append."""
        return self._ids[: self._len.item()]

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
        return len(self) if self.task.wants_sample else len(self) - 1

    @property
    def num_pending(self) -> int:
        return max(0, self.num_wanted - self.num_computed)

    @property
    def match_limit(self) -> int:
        """The longest prefix that may come from the cache: logits are needed from here on."""
        limit = self.num_wanted - 1
        if self.task is not None and (score_from := self.task.score_from) is not None:
            limit = min(limit, score_from - 1)
        return max(0, limit)

    @property
    def text_end(self) -> int:
        """Behind the last token of prompt text."""
        return self._text[-1][1] if self._text else 0

    def append(self, ids: Iterable[int], *, is_text: bool) -> None:
        """Add tokens; `is_text` tells prompt text from generated tokens, for the counters."""
        new = np.fromiter(ids, np.int32)
        start = len(self)
        end = start + len(new)
        if end > len(self._ids):
            self.move(np.empty(max(end, 2 * len(self._ids)), np.int32), np.empty(1, np.int64))
        self._ids[start:end] = new
        self._len[0] = end
        if is_text and len(new):
            if self.text_end == start and self._text:
                start, _ = self._text.pop()
            self._text.append((start, end))

    def append_token(self, token_id: int) -> None:
        """`append` of one generated token, faster."""
        end = self._len.item()
        if end == len(self._ids):
            self.append((token_id,), is_text=False)
        else:
            self._ids[end] = token_id
            self._len[0] = end + 1

    def move(self, ids: NDArray[np.int32], length: NDArray[np.int64]) -> None:
        """Keep the tokens in `ids`, which has room for them, and their number in `length` [1]."""
        ids[: len(self)] = self.tokens
        length[0] = len(self)
        self._ids, self._len = ids, length

    def lies_in(self, memory: NDArray[np.int32]) -> bool:
        """Whether the tokens are kept in (a row of) `memory`."""
        return self._ids.base is memory

    def note_reached(self) -> None:
        """What is computed now counts as reached; before it is given up."""
        self.reached = max(self.reached, self.num_computed)

    def truncate(self, length: int) -> None:
        """Drop tokens from `length` on. The KV side is the scheduler's: `Scheduler.truncate`."""
        self._len[0] = min(len(self), length)
        self.reached = min(self.reached, length)
        self._text = [(start, min(end, length)) for start, end in self._text if start < length]

    def release_lease(self) -> None:
        """Give up the eviction priority of the cached prefix. Idempotent."""
        if self.lease is not None:
            self.lease.release()
            self.lease = None

    def num_text(self, start: int, end: int) -> int:
        """How many of tokens [start, end) are prompt text."""
        return sum(max(0, min(end, b) - max(start, a)) for a, b in self._text)

    def branch_off(self) -> Sequence:
        """A new sequence with the same tokens, sharing their KV through the radix tree.

        Its cached prefix is its parent's work, so it is not counted again.
        """
        twin = Sequence(self.namespace, self.account, reached=self.reached, _text=list(self._text))
        twin.append(self.tokens, is_text=False)
        return twin
