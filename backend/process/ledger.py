"""What the front knows of one program in the worker: which answers it still owes."""

from __future__ import annotations

from collections.abc import Iterable

from sestina.backend.event_queue import EventQueue
from sestina.lang.errors import SestinaError
from sestina.lang.ir import Fork, Op
from sestina.lang.session import ROOT, Done, Ended, Event, Failed, Usage


class Ledger:
    """Counts ops in and answers out, so that a worker's death leaves none without an answer.

    The owner guards `submitted` and `fail_rest` with one lock; events come from one thread.
    """

    def __init__(self, seed: int, queue: EventQueue) -> None:
        self.queue = queue
        self._seed = seed
        self._num_submitted: dict[str, int] = {ROOT: 0}
        self._num_answered: dict[str, int] = {}
        self._ended: set[str] = set()

    def submitted(self, branch: str, ops: Iterable[Op]) -> None:
        """Ops are about to be sent."""
        for op in ops:
            self._num_submitted[branch] += 1
            if isinstance(op, Fork):
                self._num_submitted.update((child, 0) for child in op.children)

    def received(self, event: Event) -> None:
        if isinstance(event, (Done, Failed)):
            self._num_answered[event.branch] = event.op + 1
        elif isinstance(event, Ended):
            self._ended.add(event.branch)
        self.queue.put(event)

    def fail_rest(self, error: SestinaError) -> None:
        """Every op without an answer fails with `error`, every branch ends, and so do events."""
        for branch, num_submitted in self._num_submitted.items():
            for op in range(self._num_answered.get(branch, 0), num_submitted):
                self.queue.put(Failed(branch, op, error))
            if branch not in self._ended:
                self.queue.put(Ended(branch, Usage(self._seed)))
        self.queue.close()
