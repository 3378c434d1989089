"""Who joins the batch next: the queue in front of the running sequences."""

from __future__ import annotations

import bisect
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator

from sestina.backend.cache.kv_cache import KVCache
from sestina.backend.scheduler import policy
from sestina.backend.scheduler.prefix_index import PrefixIndex
from sestina.backend.scheduler.rows import Rows
from sestina.backend.scheduler.sequence import Sequence
from sestina.backend.scheduler.waiting import Waiting
from sestina.lang.errors import InternalError

WINDOW = 16
"""Waiting sequences compared at a time, beside those that share most with what ran last."""

MAX_PASSED = 64
"""Sequences that one round passes over, each waiting for a prefill, before it ends."""

GROWTH = 16
"""Tokens kept free for each running sequence when another one is admitted: without, the newest
would be preempted and admitted again step by step while memory is short."""

NUM_RECENT = 4
"""Sequences that started last, whose nearest waiting relatives are always candidates."""

DISPLACE_EVERY = 8
"""Rounds between two looks at whether a short program is stuck behind a long one."""


class Admission:
    """The waiting sequences, and the rule by which they move into `running` (oldest first).

    `preempt` puts a running sequence back; admission asks for it where one must make room.
    """

    def __init__(
        self,
        cache: KVCache,
        rows: Rows,
        running: list[Sequence],
        max_running: int,
        name: policy.PolicyName,
        preempt: Callable[[Sequence], None],
    ) -> None:
        self.waiting = Waiting(name)
        self.num_admitted = 0
        self._cache = cache
        self._rows = rows
        self._running = running
        self._max_running = max_running
        self.name: policy.PolicyName = name
        self._preempt = preempt
        self._recent: deque[Sequence] = deque(maxlen=NUM_RECENT)
        self._next_order = 0
        self._num_rounds = 0
        self._num_changes = 0  # of the queue
        self._stopped_at: tuple[int, int, int] | None = None  # the state in which nobody fitted

    # ---- the queue

    def add(self, sequence: Sequence) -> None:
        """Queue up; nothing to do for one that does already."""
        if not sequence.is_waiting:
            sequence.order, self._next_order = self._next_order, self._next_order + 1
            self.put_back(sequence)

    def put_back(self, sequence: Sequence) -> None:
        """Queue up again at its old place: a preempted sequence keeps the order of its arrival."""
        sequence.queued_at = time.monotonic()
        sequence.is_waiting = True
        self._num_changes += 1
        self.waiting.add(sequence)

    def discard(self, sequence: Sequence) -> None:
        """Leave the queue. Idempotent."""
        if sequence.is_waiting:
            sequence.is_waiting = False
            self._num_changes += 1
            self.waiting.remove(sequence)

    # ---- one round

    def admit(self) -> None:
        """Move waiting sequences into the batch while there is room.

        They go by the policy's urgency, and every FAIR_EVERY-th time by arrival. One whose prefix
        is being prefilled right now waits for it, and lets others pass; one that does not fit yet
        stops admission, so that it cannot be starved by smaller ones.
        """
        if not self.waiting:
            return
        self._num_rounds += 1
        if self._num_rounds % DISPLACE_EVERY == 0:
            self._displace()
        if len(self._running) == self._max_running or self._state() == self._stopped_at:
            return
        is_stopped = _Round(self).run()
        self._stopped_at = self._state() if is_stopped else None

    def _state(self) -> tuple[int, int, int]:
        """While this stays the same, decodes only take memory: who did not fit does not now."""
        return self._num_changes, len(self._running), self._cache.tree.num_cached

    def _displace(self) -> None:
        """Where the batch is full, preempt a long program's sequence for a short program's."""
        if len(self._running) < self._max_running:
            return
        best = next(self.waiting.in_order())
        victim = max(self._running, key=lambda s: (self.rank(s), s.order))
        num_computed = victim.num_computed - victim.admitted_len
        if policy.should_displace(self.rank(victim), num_computed, self.rank(best)):
            self._preempt(victim)

    def rank(self, sequence: Sequence) -> policy.Rank:
        return policy.rank(*sequence.account.standing, self.name)

    def start(self, sequence: Sequence) -> None:
        """Into the batch, on the longest cached prefix."""
        self.waiting.remove(sequence)
        kv = self._cache.attach(sequence.tokens, sequence.namespace, sequence.match_limit)
        if kv is None or sequence.task is None:
            raise InternalError("admitted a sequence without a free row or a task")
        sequence.kv = kv
        sequence.release_lease()
        sequence.is_waiting = False
        sequence.admitted_len = kv.computed_len
        counters = sequence.task.counters
        # Only what this line of tokens never had before: not its own work found again.
        counters.cached += sequence.num_text(sequence.reached, kv.computed_len)
        counters.queued_s += time.monotonic() - sequence.queued_at
        self._rows.enter(sequence)
        bisect.insort(self._running, sequence, key=lambda s: s.order)
        self._recent.append(sequence)
        self.num_admitted += 1


class _Round:
    """One call of `Admission.admit`: candidates come from the queue a window at a time."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._waiting = admission.waiting
        self._queue: Iterator[Sequence] = self._waiting.in_order()
        self._heap: list[tuple[policy.Rank, int, int]] = []  # urgencies, which end in the order
        self._seen: dict[int, Sequence] = {}  # by order
        self._num_passed = 0
        running = admission._running
        self._num_reserved = sum(s.num_pending for s in running)
        self._prefilling = PrefixIndex()
        for sequence in running:
            self._note_prefill(sequence)
        for recent in tuple(admission._recent):
            for relative in self._waiting.sharing_with(recent):
                self._push(relative)

    def run(self) -> bool:
        """Admit; True if it ended because memory is short."""
        admission = self._admission
        while len(admission._running) < admission._max_running and self._num_passed < MAX_PASSED:
            is_fair = policy.is_fair_turn(admission.num_admitted) and bool(self._waiting)
            sequence = self._waiting.oldest if is_fair else self._next()
            if sequence is None:
                return False
            cached_len = self._cached_len(sequence)
            if not is_fair and self._is_being_prefilled(sequence, cached_len):
                self._num_passed += 1
                continue
            if not self._fits(sequence, cached_len):
                return True
            admission.start(sequence)
            self._num_reserved += sequence.num_pending
            self._note_prefill(sequence)
        return False

    def _next(self) -> Sequence | None:
        """The most urgent candidate; each is looked at once a round."""
        while len(self._heap) < WINDOW:
            sequence = next(self._queue, None)
            if sequence is None:
                break
            self._push(sequence)
        while self._heap:
            sequence = self._seen[heapq.heappop(self._heap)[-1]]
            if sequence.is_waiting:  # not admitted by a fair turn
                return sequence
        return None

    def _push(self, sequence: Sequence) -> None:
        if sequence.order not in self._seen:
            self._seen[sequence.order] = sequence
            cached_len = self._cached_len(sequence)
            candidate = policy.Candidate(*sequence.account.standing, cached_len, sequence.order)
            heapq.heappush(self._heap, policy.urgency(candidate, self._admission.name))

    def _cached_len(self, sequence: Sequence) -> int:
        limit = sequence.match_limit
        return self._admission._cache.cached_len(sequence.tokens, sequence.namespace, limit)

    def _note_prefill(self, sequence: Sequence) -> None:
        if sequence.num_pending > policy.SHORT_RUN:
            self._prefilling.add(sequence, sequence.num_wanted)

    def _is_being_prefilled(self, sequence: Sequence, cached_len: int) -> bool:
        if not len(self._prefilling):
            return False
        tokens = sequence.tokens[: sequence.match_limit]
        shared_len = self._prefilling.shared_len(sequence.namespace, tokens)
        return policy.should_wait(shared_len, cached_len)

    def _fits(self, sequence: Sequence, cached_len: int) -> bool:
        """Whether there is memory for it and for GROWTH more tokens of each running sequence.

        What it finds cached stops being evictable; what the others still have to compute is taken.
        """
        running, cache = self._admission._running, self._admission._cache
        needed = sequence.num_wanted - cached_len + GROWTH * len(running) + self._num_reserved
        return not running or needed <= cache.num_available - cached_len
