"""The scheduler: one `step` computes a batch that mixes prefill chunks and decodes.

It knows sequences and their tasks, not programs. Everything here runs on the engine's thread.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sestina.backend.batch import KVPool, Model
from sestina.backend.cache.kv_cache import KVCache
from sestina.backend.scheduler import policy
from sestina.backend.scheduler.admission import Admission
from sestina.backend.scheduler.build import Plan, build_batch
from sestina.backend.scheduler.delivery import deliver
from sestina.backend.scheduler.drafting import Draft
from sestina.backend.scheduler.faults import as_sestina_error
from sestina.backend.scheduler.rows import Ints, Rows
from sestina.backend.scheduler.sequence import GuessingTask, Sequence, Task
from sestina.lang.errors import CapacityError, InternalError, SestinaError


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """max_total_tokens: slots of the KV pool. max_running: sequences admitted at once.
    max_batch_tokens: tokens of one forward pass; longer prefills run in chunks. policy: who goes
    first, see `sestina.backend.scheduler.policy`. max_guesses: of a sequence in one pass; 0: no
    speculation."""

    max_total_tokens: int
    max_running: int = 256
    max_batch_tokens: int = 512
    policy: policy.PolicyName = "program"
    max_guesses: int = 0


class _Computed(NamedTuple):
    """What was computed of a step's plan, the logits of it (pieces of [N, V] float32), and the
    sequences that cannot be, with their number of trusted tokens."""

    plan: Plan
    logits: list[Tensor]
    failures: list[tuple[Sequence, int, SestinaError]]


class Scheduler:
    """Admits sequences, computes their tokens batch by batch and tells their tasks."""

    def __init__(self, model: Model, options: SchedulerOptions) -> None:
        self.model = model
        self.options = options
        self.max_len = min(model.config.max_len, options.max_total_tokens)
        self.kv = KVPool.empty(model.config, options.max_total_tokens, model.kv_dtype, model.device)
        self.cache = KVCache(
            num_slots=options.max_total_tokens,
            num_rows=options.max_running,
            max_len=self.max_len,
        )
        self.running: list[Sequence] = []  # oldest first
        self.rows = Rows(options.max_running, self.max_len, self.cache.computed_lens)
        self.admission = Admission(
            self.cache,
            self.rows,
            self.running,
            options.max_running,
            options.policy,
            self._preempt,
        )
        self.worthwhile_odds = policy.worthwhile_odds(1)  # of guesses, as of the last step
        self.num_steps = 0
        self.num_preempted = 0
        self.busy_s = 0.0

    @property
    def waiting(self) -> Collection[Sequence]:
        """What is not in the batch yet."""
        return self.admission.waiting

    # ---- what a task does with its sequence

    def add(self, sequence: Sequence) -> None:
        """Compute what the sequence's task wants; it stays until `remove`."""
        if sequence.kv is not None:
            # Still admitted: it goes on in the next step. What is computed already but has its
            # logits wanted only now is computed again.
            self.rows.drafts.pop(sequence.kv.row, None)
            limit = self.rows.refresh(sequence)
            if sequence.kv.computed_len > limit:
                sequence.note_reached()
                self.cache.truncate(sequence.kv, sequence.tokens, limit)
        else:
            self.admission.add(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Stop computing; what is computed stays cached, evictable. Idempotent."""
        if sequence.kv is not None:
            self._detach(sequence)
        else:
            self.admission.discard(sequence)
        if not sequence.keeps_lease:
            sequence.release_lease()

    def settle(self, sequence: Sequence) -> None:
        """Have the task's forward passes counted by now."""
        if sequence.kv is not None:
            self.rows.settle(sequence.kv.row)

    def truncate(self, sequence: Sequence, length: int) -> None:
        """Drop the sequence's tokens from `length` on, and their keys and values."""
        self.forget(sequence, length)
        sequence.truncate(length)

    def redraw(self, sequence: Sequence, task: Task) -> None:
        """The sequence's task has another `drawing` from the next `add` on."""
        if sequence.kv is not None:
            self.rows.redraw(sequence, task)

    def forget(self, sequence: Sequence, length: int) -> None:
        """Drop the keys and values of tokens from `length` on: those of wrong guesses."""
        if sequence.kv is not None:
            self.cache.truncate(sequence.kv, sequence.tokens, length)

    def guess(self, sequence: Sequence, task: GuessingTask, draft: Draft) -> None:
        """What may come after the tokens of a sequence that was just added. It may be computed with
        the next step or not; the task is told by `on_drawn_ahead` or `on_sampled` accordingly."""
        if sequence.kv is not None and draft.ids:
            self.rows.drafts[sequence.kv.row] = task, draft

    def require_room(self, num_tokens: int) -> None:
        """CapacityError unless a sequence of this length can ever be computed."""
        if num_tokens > self.max_len:
            pool, model = self.options.max_total_tokens, self.model.config.max_len
            raise CapacityError(
                f"needs {num_tokens:,} tokens, limit {self.max_len:,} "
                f"(KV pool {pool:,}, model {model:,})"
            )

    # ---- one step

    def step(self) -> bool:
        """Admit, plan, compute, deliver. False when there was nothing to compute."""
        self.admission.admit()
        plan = self._plan()
        if not len(plan):
            return False
        started = time.monotonic()
        plan, logits, failures = self._compute(plan)
        for sequence, num_trusted, _ in failures:
            self._retract(sequence, num_trusted)
        self._commit(plan)
        if len(plan):
            deliver(self.rows, plan, logits[0] if len(logits) == 1 else torch.cat(logits))
        for sequence, _, error in failures:
            if sequence.task is not None:  # not cancelled meanwhile
                sequence.task.on_error(error)
        self.busy_s += time.monotonic() - started
        return True

    def _plan(self) -> Plan:
        """Who runs how many tokens, with slots taken; preempts the newest when memory is short."""
        rows = self.rows.due()
        rows, sizes = self._sizes(rows)
        self.worthwhile_odds = policy.worthwhile_odds(len(rows))
        num_guessed = np.zeros_like(sizes)
        if self.rows.drafts:
            room = policy.draft_room(int(sizes.sum()), len(rows), self.options.max_batch_tokens)
            num_guessed = self.rows.put_guesses(rows, sizes, room)
        slots = self.cache.extend_rows(rows, sizes + num_guessed)
        if slots is None:  # nobody makes room for guesses
            rows, sizes, slots = self._extend_in_turn(rows, sizes)
            num_guessed = np.zeros_like(sizes)
        ends = self.cache.computed_lens[rows]
        starts = ends - sizes - num_guessed
        logits_from = self.rows.logits_from(rows, starts, ends - num_guessed)
        return Plan(rows, starts, ends, num_guessed, logits_from, slots)

    def _sizes(self, rows: Ints) -> tuple[Ints, Ints]:
        """Which of these rows run in this step, and how many tokens of each."""
        pending = self.rows.num_pending(rows)
        if not np.count_nonzero(pending > policy.SHORT_RUN):
            return rows, pending  # decodes always run
        ranks = [self.admission.rank(sequence) for sequence in self.rows.held_by(rows)]
        budget = self.options.max_batch_tokens
        sizes = np.array(policy.plan_chunks(pending.tolist(), budget, ranks.__getitem__), np.int64)
        return rows[sizes > 0], sizes[sizes > 0]

    def _extend_in_turn(self, rows: Ints, sizes: Ints) -> tuple[Ints, Ints, NDArray[np.int32]]:
        """Slots for those that get some, oldest first, who take them from the newest."""
        kept: list[int] = []
        taken = [np.empty(0, np.int32)]
        for i, (row, size) in enumerate(zip(rows.tolist(), sizes.tolist(), strict=True)):
            sequence = self.rows.sequences[row]
            if sequence is None or sequence.kv is None:  # preempted while making room
                continue
            slots = self.cache.extend(sequence.kv, size)
            while slots is None and self._preempt_newer_than(sequence):
                slots = self.cache.extend(sequence.kv, size)
            if slots is None:
                # Older sequences hold the rest, and go first.
                self._preempt(sequence)
                continue
            kept.append(i)
            taken.append(slots)
        return rows[kept], sizes[kept], np.concatenate(taken)

    def _preempt_newer_than(self, sequence: Sequence) -> bool:
        victim = self.running[-1]
        if victim is sequence:
            return False
        self._preempt(victim)
        return True

    def _preempt(self, victim: Sequence) -> None:
        """Back to the queue; its KV stays cached until evicted, then is recomputed."""
        self._detach(victim)
        self.admission.put_back(victim)
        self.num_preempted += 1

    def _detach(self, sequence: Sequence) -> None:
        """Take an admitted sequence out of the batch."""
        if sequence.kv is None:
            raise InternalError("a sequence that is not admitted cannot leave")
        self.forget(sequence, len(sequence))  # guesses that never came true
        self.running.remove(sequence)
        self.rows.leave(sequence)
        sequence.lease = self.cache.detach(
            sequence.kv, sequence.tokens, takes_lease=sequence.keeps_lease
        )
        sequence.kv = None

    def _compute(self, plan: Plan) -> _Computed:
        """Run the model. Where it raises for a batch, each sequence is tried alone and without
        guesses: only those fail that have to."""
        try:
            batch = build_batch(plan, self.rows, self.cache.table, self.model.device)
            logits = self.model.forward(batch, self.kv)
        except Exception as error:
            if len(plan) == 1 and not plan.num_guessed.any():
                sequence = self.rows.sequences[int(plan.rows[0])]
                if sequence is None:
                    raise InternalError("a row was computed for no sequence") from error
                failure = (sequence, int(plan.starts[0]), as_sestina_error(error))
                return _Computed(plan.only(np.arange(0)), [], [failure])
        else:
            self.num_steps += 1
            return _Computed(plan, [logits], [])
        plan = self._without_guesses(plan)
        alone = [self._compute(plan.only(np.array([b]))) for b in range(len(plan))]
        done = [b for b, one in enumerate(alone) if not one.failures]
        return _Computed(
            plan.only(np.array(done, np.int64)),
            [logits for one in alone for logits in one.logits],
            [failure for one in alone for failure in one.failures],
        )

    def _without_guesses(self, plan: Plan) -> Plan:
        plan = plan.without_guesses()
        for sequence, end in zip(self.rows.held_by(plan.rows), plan.ends.tolist(), strict=True):
            self.forget(sequence, end)
        return plan

    def _retract(self, sequence: Sequence, num_trusted: int) -> None:
        """The last chunk was not computed: what lies in its slots is not trusted."""
        if sequence.kv is not None:
            self.cache.truncate(sequence.kv, sequence.tokens, num_trusted)
        self.remove(sequence)

    def _commit(self, plan: Plan) -> None:
        """Count what was computed and publish prefilled text, so that siblings can share it."""
        self.rows.count_pass(plan.rows, plan.sizes)
        has_text = plan.starts < self.rows.text_ends[plan.rows]
        for b in has_text.nonzero()[0].tolist():
            sequence = self.rows.sequences[int(plan.rows[b])]
            if sequence is None or sequence.task is None or sequence.kv is None:
                raise InternalError("a sequence lost its task or memory during a forward pass")
            num_text = sequence.num_text(int(plan.starts[b]), int(plan.ends[b]))
            sequence.task.counters.prefilled += num_text
            if num_text:
                self.cache.publish(sequence.kv, sequence.tokens)

    def check(self) -> None:
        """Audit the KV books, O(slots); InternalError if they are wrong."""
        self.cache.check(s.kv for s in self.running if s.kv is not None)

    def check_totals(self) -> None:
        """InternalError unless every KV slot is accounted for."""
        self.cache.check_totals(s.kv for s in self.running if s.kv is not None)
