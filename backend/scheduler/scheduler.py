"""The scheduler: one `step` computes a batch that mixes prefill chunks and decodes.

It knows sequences and their tasks, not programs. Everything here runs on the engine's thread.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sestina.backend.batch import KVPool, Model
from sestina.backend.cache.kv_cache import KVCache
from sestina.backend.sampling.sampler import Sampled, SampleRow, sample
from sestina.backend.scheduler import policy
from sestina.backend.scheduler.admission import Admission
from sestina.backend.scheduler.build import Chunk, build_batch, logits_from
from sestina.backend.scheduler.faults import as_sestina_error, failing
from sestina.backend.scheduler.scoring import score_known_tokens
from sestina.backend.scheduler.sequence import Sequence, Task
from sestina.lang.errors import CapacityError, InternalError, SestinaError


@dataclass(frozen=True, slots=True)
class SchedulerOptions:
    """max_total_tokens: slots of the KV pool. max_running: sequences admitted at once.
    max_batch_tokens: tokens of one forward pass; longer prefills run in chunks. policy: who goes
    first, see `sestina.backend.scheduler.policy`."""

    max_total_tokens: int
    max_running: int = 256
    max_batch_tokens: int = 512
    policy: policy.PolicyName = "program"


class _Computed(NamedTuple):
    """A step's chunks, their logits (pieces of [N, V] float32), and those that cannot be had."""

    chunks: list[Chunk]
    logits: list[Tensor]
    failures: list[tuple[Chunk, SestinaError]]


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
        self.admission = Admission(
            self.cache, self.running, options.max_running, options.policy, self._preempt
        )
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
            self.cache.truncate(sequence.kv, sequence.tokens, sequence.match_limit)
        else:
            self.admission.add(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Stop computing; what is computed stays cached, evictable. Idempotent."""
        if sequence.kv is not None:
            self.running.remove(sequence)
            self.cache.detach(sequence.kv, sequence.tokens)
            sequence.kv = None
        else:
            self.admission.discard(sequence)

    def truncate(self, sequence: Sequence, length: int) -> None:
        """Drop the sequence's tokens from `length` on, and their keys and values."""
        if sequence.kv is not None:
            self.cache.truncate(sequence.kv, sequence.tokens, length)
        sequence.truncate(length)

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
        chunks = self._plan()
        if not chunks:
            return False
        started = time.monotonic()
        chunks, logits, failures = self._compute(chunks)
        for chunk, _ in failures:
            self._retract(chunk)
        self._commit(chunks)
        if chunks:
            self._deliver(chunks, logits[0] if len(logits) == 1 else torch.cat(logits))
        for chunk, error in failures:
            task = chunk.sequence.task
            if task is not None:  # not cancelled meanwhile
                task.on_error(error)
        self.busy_s += time.monotonic() - started
        return True

    def _plan(self) -> list[Chunk]:
        """Who runs how many tokens, with slots taken; preempts the newest when memory is short."""
        active = [s for s in self.running if s.num_pending > 0]
        sizes = policy.plan_chunks(
            [s.num_pending for s in active],
            self.options.max_batch_tokens,
            lambda i: policy.rank(*active[i].account.standing, self.options.policy),
        )
        chunks: list[Chunk] = []
        for sequence, size in zip(active, sizes, strict=True):
            if size == 0 or sequence.kv is None:  # preempted while making room
                continue
            start = sequence.num_computed
            slots = self.cache.extend(sequence.kv, size)
            while slots is None and self._preempt_newer_than(sequence):
                slots = self.cache.extend(sequence.kv, size)
            if slots is None:
                # Older sequences hold the rest, and go first.
                self._preempt(sequence)
                continue
            end = start + size
            first = logits_from(sequence, start, end)
            chunks.append(Chunk(sequence, start, end, sequence.kv.row, slots, first))
        return chunks

    def _preempt_newer_than(self, sequence: Sequence) -> bool:
        victim = self.running[-1]
        if victim is sequence:
            return False
        self._preempt(victim)
        return True

    def _preempt(self, victim: Sequence) -> None:
        """Back to the queue; its KV stays cached until evicted, then is recomputed."""
        self.running.remove(victim)
        if victim.kv is not None:
            self.cache.detach(victim.kv, victim.tokens)
            victim.kv = None
        self.admission.put_back(victim)
        self.num_preempted += 1

    def _compute(self, chunks: list[Chunk]) -> _Computed:
        """Run the model. Where it raises for a batch, each sequence is tried alone: only those
        fail that have to."""
        try:
            batch = build_batch(chunks, self.cache.table, self.model.device)
            logits = self.model.forward(batch, self.kv)
        except Exception as error:
            if len(chunks) == 1:
                return _Computed([], [], [(chunks[0], as_sestina_error(error))])
        else:
            self.num_steps += 1
            return _Computed(chunks, [logits], [])
        alone = _Computed([], [], [])
        for chunk in chunks:
            one = self._compute([chunk])
            alone.chunks.extend(one.chunks)
            alone.logits.extend(one.logits)
            alone.failures.extend(one.failures)
        return alone

    def _retract(self, chunk: Chunk) -> None:
        """The chunk was not computed: what lies in its slots is not trusted."""
        sequence = chunk.sequence
        if sequence.kv is not None:
            self.cache.truncate(sequence.kv, sequence.tokens, chunk.start)
        self.remove(sequence)

    def _commit(self, chunks: list[Chunk]) -> None:
        """Count what was computed and publish prefilled text, so that siblings can share it."""
        for chunk in chunks:
            sequence = chunk.sequence
            if sequence.task is None or sequence.kv is None:
                raise InternalError("a sequence lost its task or memory during a forward pass")
            counters = sequence.task.counters
            counters.forward_passes += 1
            sequence.account.service += chunk.end - chunk.start
            num_text = sequence.num_text(chunk.start, chunk.end)
            counters.prefilled += num_text
            sequence.reached = max(sequence.reached, chunk.end)
            if num_text:
                self.cache.publish(sequence.kv, sequence.tokens)

    def _deliver(self, chunks: list[Chunk], logits: Tensor) -> None:
        """Score and sample; the tasks append tokens, finish, or take up their next op."""
        to_sample: list[tuple[Sequence, Task]] = []
        sample_rows: list[int] = []
        done: list[tuple[Sequence, Task]] = []
        row = 0
        for chunk in chunks:
            sequence, task = chunk.sequence, chunk.sequence.task
            rows, row = (row, row + chunk.num_logits), row + chunk.num_logits
            if task is None:
                continue  # cancelled by an earlier sequence's callback in this very loop
            if task.score_from is not None:
                with failing(task):
                    score_known_tokens(chunk, task, logits[rows[0] : rows[1]])
            if sequence.num_pending == 0 and sequence.task is task:
                if task.wants_sample:
                    to_sample.append((sequence, task))
                    sample_rows.append(rows[1] - 1)
                else:
                    done.append((sequence, task))
        self._sample(to_sample, logits, sample_rows)
        for sequence, task in done:
            if sequence.task is task:
                with failing(task):
                    task.on_computed()

    def _sample(
        self, wanted: list[tuple[Sequence, Task]], logits: Tensor, logit_rows: list[int]
    ) -> None:
        """Draw one token per task; a task that cannot say how fails alone."""
        tasks: list[tuple[Sequence, Task]] = []
        rows: list[SampleRow] = []
        picked: list[int] = []
        for (sequence, task), logit_row in zip(wanted, logit_rows, strict=True):
            with failing(task):
                rows.append(task.sample_row())
                tasks.append((sequence, task))
                picked.append(logit_row)
        if not rows:
            return
        if len(picked) != len(logits):
            logits = logits[torch.tensor(picked, device=logits.device)]  # [B, V]
        drawn: list[Sampled | None]
        try:
            drawn = [*sample(logits, rows)]
        except Exception:
            drawn = [None] * len(rows)  # each alone: only those fail that have to
        for i, (sequence, task) in enumerate(tasks):
            if sequence.task is task:  # not cancelled by a callback in this very loop
                with failing(task):
                    task.on_sampled(drawn[i] or sample(logits[i : i + 1], rows[i : i + 1])[0])

    def check(self) -> None:
        """Audit the KV books, O(slots); InternalError if they are wrong."""
        self.cache.check(s.kv for s in self.running if s.kv is not None)

    def check_totals(self) -> None:
        """InternalError unless every KV slot is accounted for."""
        self.cache.check_totals(s.kv for s in self.running if s.kv is not None)
