"""Tree, pool and scheduler under any order of what programs do to them, against plain lists.

The model's next token is a function of the whole prefix as it reads it back from the pages, so what
a line of tokens should be is known without any cache; and the memory of every cached prefix is
compared with it after every step.
"""

from __future__ import annotations

import random
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from numpy.typing import NDArray
from support.fuzz import tries
from support.requests import GREEDY, VOCAB_SIZE, scripted_scheduler
from torch import Tensor

from sestina.backend.batch import Batch, KVPool
from sestina.backend.models.scripted import ScriptedModel
from sestina.backend.sampling.sampler import Sampled, SampleRow, row_settings
from sestina.backend.scheduler.policy import POLICIES, PolicyName
from sestina.backend.scheduler.scheduler import Scheduler, SchedulerOptions
from sestina.backend.scheduler.sequence import Account, Counters, Drawing, Scores, Sequence
from sestina.lang.errors import CapacityError, SestinaError

BREAKS_MODEL = 7
"""With this token in a batch the model raises."""

HAS_NO_LOGITS = 6
"""After this token a row's logits are NaN."""


def next_id(tokens: SequenceOf[int]) -> int:
    """Depends on all of the prefix, and gives few ids, so that lines often meet."""
    return (sum(i * t for i, t in enumerate(tokens, 1)) + 7 * len(tokens)) % 3


class FragileModel(ScriptedModel):
    """Raises for a whole batch because of one row in it, before it stores anything."""

    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        if (batch.token_ids == BREAKS_MODEL).any():
            raise RuntimeError("boom")
        return super().forward(batch, kv)


def script(tokens: tuple[int, ...]) -> int | Tensor:
    if tokens[-1] == HAS_NO_LOGITS:
        return torch.full((VOCAB_SIZE,), float("nan"))
    return next_id(tokens)


@dataclass(frozen=True)
class Turn:
    """Drop the last `num_cut` tokens of what was written, append `text`, generate `num_new`.

    With `num_scored` the last tokens of the text are scored too, as for log-probabilities.
    """

    text: tuple[int, ...]
    num_new: int
    num_cut: int = 0
    num_scored: int = 0
    is_quiet: bool = False


rngs = st.integers(0, 2**32).map(random.Random)
"""What matters is how turns meet, not which of them: not worth choices of Hypothesis's own."""


def a_turn(rng: random.Random) -> Turn:
    text = rng.choices(range(3), k=rng.randint(1, 12))
    if rng.random() < 0.05:
        text.append(rng.choice([BREAKS_MODEL, HAS_NO_LOGITS]))
    num_cut, num_scored = rng.choice([0, 0, 1, 3]), rng.choice([0, 0, 1, 3])
    return Turn(tuple(text), rng.randint(1, 16), num_cut, num_scored, rng.random() < 0.5)


MAX_LEN = 40


@dataclass(eq=False)
class Line:
    """A branch: a sequence and the turns it takes, one handing over to the next in the batch.

    `wanted` is what the sequence should hold after the turns begun so far.
    """

    scheduler: Scheduler
    sequence: Sequence
    wanted: list[int] = field(default_factory=list)
    later: list[Turn] = field(default_factory=list)
    error: SestinaError | None = None
    is_busy: bool = False

    def begin(self, turn: Turn) -> None:
        """Take a turn; too long a line is refused and stays as it is."""
        num_cut = min(turn.num_cut, len(self.wanted))
        length = len(self.wanted) - num_cut + len(turn.text) + turn.num_new
        if length > MAX_LEN:
            self.end()
            return
        self.scheduler.truncate(self.sequence, len(self.wanted) - num_cut)
        del self.wanted[len(self.wanted) - num_cut :]
        self.sequence.append(turn.text, is_text=True)
        self.wanted += turn.text
        score_from = max(1, len(self.wanted) - turn.num_scored) if turn.num_scored else None
        self.sequence.task = Writing(self, turn, len(self.wanted), score_from)
        for _ in range(turn.num_new):
            self.wanted.append(next_id(self.wanted))
        self.is_busy = True
        self.scheduler.add(self.sequence)

    def next_turn(self) -> None:
        assert self.sequence.tokens.tolist() == self.wanted
        self.sequence.task = None
        self.is_busy = False
        if self.later:
            self.begin(self.later.pop(0))
        else:
            self.scheduler.remove(self.sequence)

    def end(self) -> None:
        """The program leaves, whatever the line is doing."""
        self.is_busy = False
        self.later.clear()
        self.sequence.task = None
        self.sequence.keeps_lease = False
        self.scheduler.remove(self.sequence)


@dataclass(eq=False)
class Writing:
    """The scheduler's task for a turn."""

    line: Line
    turn: Turn
    start: int
    score_from: int | None
    counters: Counters = field(default_factory=Counters)
    num_top: int = 0
    wants_sample: bool = True

    @property
    def drawing(self) -> Drawing:
        return Drawing(GREEDY, row_settings([SampleRow(GREEDY, 0, self.start)]))

    @property
    def quiet_until(self) -> int:
        return self.start + self.turn.num_new - 1 if self.turn.is_quiet else 0

    def fill_mask(self, row: NDArray[np.int32]) -> None:
        raise AssertionError("nothing is masked")

    def sample_row(self, mask: NDArray[np.int32] | None) -> SampleRow:
        raise AssertionError("no logits are changed")

    def on_sampled(self, sampled: Sampled) -> None:
        sequence = self.line.sequence
        sequence.append((sampled.id,), is_text=False)
        if len(sequence) == self.start + self.turn.num_new:
            self.line.next_turn()
        else:
            self.line.scheduler.add(sequence)

    def on_scores(self, scores: Scores) -> None:
        assert scores.first == self.score_from
        self.score_from += len(scores.logprobs)
        for index, logprob in enumerate(scores.logprobs, scores.first):
            tokens = self.line.sequence.tokens[: index + 1].tolist()
            is_likely = next_id(tokens[:-1]) == tokens[-1]
            assert is_likely == (logprob > -1.0), "scored after its own prefix"

    def on_computed(self) -> None:
        raise AssertionError("every turn samples")

    def on_error(self, error: SestinaError) -> None:
        assert self.turn.text[-1] in (BREAKS_MODEL, HAS_NO_LOGITS), error
        self.line.error = error
        self.line.end()


class SchedulerMachine(RuleBasedStateMachine):
    """Lines start, fork, go on after a pause, fail, are cancelled; the pool is tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self.accounts = [Account()]

    @initialize(
        pool=st.integers(MAX_LEN, 2 * MAX_LEN),
        max_running=st.integers(1, 5),
        max_batch_tokens=st.sampled_from([1, 3, 8, 64]),
        policy=st.sampled_from(POLICIES),
    )
    def begin(self, pool: int, max_running: int, max_batch_tokens: int, policy: PolicyName) -> None:
        self.scheduler = Scheduler(
            FragileModel(script, VOCAB_SIZE),
            SchedulerOptions(pool, max_running, max_batch_tokens, policy),
        )
        self.num_slots = pool

    @property
    def idle(self) -> list[Line]:
        return [line for line in self.lines if not line.is_busy and line.sequence.keeps_lease]

    @property
    def busy(self) -> list[Line]:
        return [line for line in self.lines if line.is_busy]

    # ---- what programs do

    @rule(rng=rngs, num_lines=st.integers(1, 4))
    def start(self, rng: random.Random, num_lines: int) -> None:
        for _ in range(num_lines):
            if rng.random() < 0.5:
                self.accounts.append(Account(rng.randint(-1, 1), rng.randint(0, 5000)))
            sequence = Sequence(
                rng.choice(["", "", "other"]), rng.choice(self.accounts), keeps_lease=True
            )
            later = [a_turn(rng) for _ in range(rng.randint(0, 2))]
            line = Line(self.scheduler, sequence, later=later)
            self.lines.append(line)
            line.begin(a_turn(rng))

    @precondition(lambda self: self.idle)
    @rule(rng=rngs)
    def go_on(self, rng: random.Random) -> None:
        """A tool has answered."""
        rng.choice(self.idle).begin(a_turn(rng))

    @precondition(lambda self: self.idle)
    @rule(rng=rngs, num_children=st.integers(1, 3))
    def fork(self, rng: random.Random, num_children: int) -> None:
        parent = rng.choice(self.idle)
        for _ in range(num_children):
            child = Line(self.scheduler, parent.sequence.branch_off(), list(parent.wanted))
            child.sequence.keeps_lease = True
            self.lines.append(child)
            child.begin(a_turn(rng))

    @precondition(lambda self: self.busy)
    @rule(rng=rngs)
    def cancel(self, rng: random.Random) -> None:
        rng.choice(self.busy).end()

    @rule(num_slots=st.integers(0, MAX_LEN))
    def flush(self, num_slots: int) -> None:
        self.scheduler.cache.tree.evict(num_slots)

    @rule(count=st.integers(1, 8))
    def step(self, count: int) -> None:
        for _ in range(count):
            was_busy = bool(self.busy)
            assert self.scheduler.step() == was_busy
            self.check()

    # ---- what holds after each

    @invariant()
    def books(self) -> None:
        if hasattr(self, "scheduler"):
            self.check()

    def check(self) -> None:
        scheduler = self.scheduler
        scheduler.check()
        admitted = {*scheduler.running}
        assert {*scheduler.waiting}.isdisjoint(admitted)
        assert {*scheduler.waiting} | admitted == {line.sequence for line in self.busy}
        orders = [sequence.order for sequence in scheduler.running]
        assert orders == sorted(orders)
        for line in self.lines:
            assert (line.sequence.kv is not None) == (line.sequence in admitted)
            assert line.sequence.lease is None or line.sequence.keeps_lease
        leases = {line.sequence.lease for line in self.lines}
        for _, node in scheduler.cache.tree.nodes():
            assert node.leases <= leases, "who holds a lease knows of it"
        self.check_memory()

    def check_memory(self) -> None:
        """What anybody could match was computed, whole, of just these tokens."""
        memory = self.scheduler.kv.k[0, :, 0].long().numpy()  # [P, 2]: id, position + 1
        starts: dict[object, int] = {}
        for _, node in self.scheduler.cache.tree.nodes():
            start = 0 if node.parent is None else starts[node.parent]
            starts[node] = end = start + len(node.slots)
            ids, positions = memory[node.slots].T
            assert ids.tolist() == node.tokens.tolist()
            assert positions.tolist() == list(range(start + 1, end + 1))

    def teardown(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        for _ in range(5000):
            if not self.scheduler.step():
                break
            self.scheduler.check_totals()
        assert not self.busy, "everything that was begun comes to its end"
        self.check()
        for line in self.lines:
            line.end()
        tree, pool = self.scheduler.cache.tree, self.scheduler.cache.pool
        assert tree.num_locked == tree.num_leased == 0
        tree.reset()
        assert pool.num_free == self.num_slots


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = tries(25, steps=20)


def test_what_can_never_be_computed_is_refused() -> None:
    scheduler = scripted_scheduler(MAX_LEN, 2)
    scheduler.require_room(MAX_LEN)
    with pytest.raises(CapacityError, match="needs 41 tokens, limit 40"):
        scheduler.require_room(MAX_LEN + 1)
