"""Who joins the batch next: the queue in front of the running sequences."""

from __future__ import annotations

import bisect
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from sestina.backend.cache.kv_cache import KVCache
from sestina.backend.scheduler import policy
from sestina.backend.scheduler.sequence import Sequence
from sestina.lang.errors import InternalError


class Admission:
    """The waiting sequences, and the rule by which they move into `running` (oldest first)."""

    def __init__(self, cache: KVCache, running: list[Sequence], max_running: int) -> None:
        self.waiting: deque[Sequence] = deque()
        self._cache = cache
        self._running = running
        self._max_running = max_running
        self._next_order = 0

    def add(self, sequence: Sequence) -> None:
        """Queue up; nothing to do for one that does already."""
        if not sequence.is_waiting:
            sequence.order, self._next_order = self._next_order, self._next_order + 1
            self._enqueue(sequence)
            self.waiting.append(sequence)

    def put_back(self, sequence: Sequence) -> None:
        """To the queue's front: a preempted sequence."""
        self._enqueue(sequence)
        self.waiting.appendleft(sequence)

    def discard(self, sequence: Sequence) -> None:
        """Leave the queue. Idempotent."""
        if sequence.is_waiting:
            sequence.is_waiting = False
            self.waiting.remove(sequence)

    def _enqueue(self, sequence: Sequence) -> None:
        sequence.queued_at = time.monotonic()
        sequence.is_waiting = True

    def admit(self) -> None:
        """Move waiting sequences into the batch, first come first served.

        A sequence whose prefix is being prefilled right now waits for it, and lets others pass;
        one that does not fit yet stops admission, so that it cannot be starved by smaller ones.
        """
        passed_over: list[Sequence] = []
        while self.waiting and len(self._running) < self._max_running:
            sequence = self.waiting.popleft()
            limit = sequence.match_limit
            cached = self._cache.cached_len(sequence.tokens[:limit], sequence.namespace, limit)
            if policy.should_wait(
                sequence.tokens[:limit], cached, self._prefilling(sequence.namespace)
            ):
                passed_over.append(sequence)
                continue
            needed = sequence.num_wanted - cached + len(self._running)
            if self._running and needed > self._cache.num_available - cached:
                self.waiting.appendleft(sequence)
                break
            self._start(sequence)
        self.waiting.extendleft(reversed(passed_over))

    def _prefilling(self, namespace: str) -> list[NDArray[np.int32]]:
        return [
            s.tokens[: s.num_wanted]
            for s in self._running
            if s.num_pending > policy.SHORT_RUN and s.namespace == namespace
        ]

    def _start(self, sequence: Sequence) -> None:
        limit = sequence.match_limit
        kv = self._cache.attach(sequence.tokens, sequence.namespace, limit)
        if kv is None or sequence.task is None:
            raise InternalError("admitted a sequence without a free row or a task")
        sequence.kv = kv
        sequence.is_waiting = False
        counters = sequence.task.counters
        # Only what this line of tokens never had before: not its own work found again.
        counters.cached += sequence.num_text(sequence.reached, kv.computed_len)
        counters.queued_s += time.monotonic() - sequence.queued_at
        sequence.reached = max(sequence.reached, kv.computed_len)
        bisect.insort(self._running, sequence, key=lambda s: s.order)
