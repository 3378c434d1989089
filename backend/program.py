"""A running program: its branches, what was submitted to them, and where events go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict

from sestina.backend.branch import Branch, Prepared, QueuedOp
from sestina.backend.core import Core
from sestina.backend.event_queue import EventSink
from sestina.backend.ops.runner import OpRunner
from sestina.backend.scheduler.faults import as_sestina_error
from sestina.backend.scheduler.sequence import Account
from sestina.backend.scheduler.sequence import Sequence as TokenSequence
from sestina.backend.trace import OpTracer
from sestina.lang import ir
from sestina.lang.errors import Cancelled, InvalidParams, SestinaError
from sestina.lang.session import ROOT, Ended, Event, SessionOptions, Usage

Submitted = tuple[ir.Op, "Future[Prepared] | None"]


class Program:
    """State of one program; used on the engine's thread only (`events` is read elsewhere).

    While its reader is `max_unread` events behind, the program pauses: no op of it is begun, and
    what generates leaves the batch (its KV stays cached). So a slow reader costs a bounded amount
    of memory, and nobody else's time.
    """

    def __init__(
        self,
        core: Core,
        options: SessionOptions,
        seed: int,
        events: EventSink,
        post: Callable[[Callable[[], None]], None],
        max_unread: int,
    ) -> None:
        self.seed = seed
        self.defaults = options.defaults
        self._post = post
        self._options = options
        self._events = events
        self._account = Account(options.priority)
        self._max_unread = max_unread
        self._num_unread = 0
        self._core = core
        self._runner = OpRunner(core, self)
        self._branches = {ROOT: self._new_branch(ROOT, None)}
        self.is_closed = False
        self.is_paused = False
        self.tracer: OpTracer | None = None

    # ---- from the session

    def submit(self, branch_id: str, submitted: Sequence[Submitted]) -> None:
        """Queue ops on a branch and run what can run."""
        branch = self.branch(branch_id)
        for op, prepared in submitted:
            queued = QueuedOp(branch.num_submitted, op, prepared)
            branch.num_submitted += 1
            if isinstance(op, ir.Fork):
                for child_id in op.children:
                    self._branches[child_id] = self._new_branch(child_id, branch)
            branch.ops.append(queued)
        if self.tracer is not None:
            self.tracer.submitted(branch_id, [op for op, _ in submitted])
        if branch.error is None:
            self._runner.advance(branch)
        else:
            self._runner.fail(branch, None, branch.error)

    def cancel(self, branch_id: str | None, error: SestinaError | None = None) -> None:
        """Stop a branch and its children (all: None); their ops answer Cancelled. Idempotent."""
        error = error or Cancelled("the program was cancelled")
        for branch in list(self._branches.values()):
            if (branch_id is None or self._descends(branch, branch_id)) and not branch.is_ended:
                branch.is_released = True
                self._runner.fail(branch, None, error)

    def close(self, error: SestinaError | None = None) -> None:
        """Cancel what still runs and end the events. Idempotent."""
        if not self.is_closed:
            self.is_closed = True
            try:
                self.cancel(None, error)
            finally:
                self._events.close()

    def acknowledge(self, num_events: int) -> None:
        """The reader has read so many more events."""
        self._num_unread -= num_events
        if self.is_paused and self._num_unread < self._max_unread:
            self.is_paused = False
            for branch in list(self._branches.values()):
                sequence = branch.sequence
                if sequence.task is not None and sequence.kv is None:
                    self._core.scheduler.add(sequence)
                self._runner.advance(branch)

    def _pause(self) -> None:
        """Between two steps: what generates waits outside the batch, unless the reader came."""
        if not self.is_paused:
            return
        for branch in self._branches.values():
            if branch.sequence.task is not None:
                self._core.scheduler.remove(branch.sequence)

    def guard(self, command: Callable[[], None]) -> None:
        """Run a command of this program. If our own bookkeeping breaks, it ends, and it alone."""
        try:
            command()
        except Exception as error:
            self.close(as_sestina_error(error))

    # ---- for the runner

    def post(self, action: Callable[[], None]) -> None:
        """Run `action` on the engine's thread soon; callable from any thread."""
        self._post(lambda: self.guard(action))

    def emit(self, event: Event) -> None:
        self._events.put(event)
        if self.tracer is not None:
            self.tracer.answered(event)
        self._num_unread += 1
        if self._num_unread >= self._max_unread and not self.is_paused and not self.is_closed:
            self.is_paused = True
            self.post(self._pause)

    def branch(self, branch_id: str) -> Branch:
        if branch_id not in self._branches:
            raise InvalidParams(f"no branch {branch_id!r}: no Fork announced it")
        return self._branches[branch_id]

    def on_idle(self, branch: Branch) -> None:
        waiters, branch.waiters = branch.waiters, []
        for waiter in waiters:
            waiter()
        if branch.is_released and branch.is_idle and not branch.is_ended:
            branch.is_ended = True
            branch.sequence.keeps_lease = False
            self._core.scheduler.remove(branch.sequence)
            self.emit(Ended(branch.id, self._usage(branch)))

    # ---- inside

    def _new_branch(self, branch_id: str, parent: Branch | None) -> Branch:
        sequence = TokenSequence(self._options.namespace, self._account, keeps_lease=True)
        return Branch(branch_id, sequence, parent, is_born=parent is None)

    def _descends(self, branch: Branch | None, ancestor_id: str) -> bool:
        while branch is not None:
            if branch.id == ancestor_id:
                return True
            branch = branch.parent
        return False

    def _usage(self, branch: Branch) -> Usage:
        return Usage(seed=self.seed, **asdict(branch.counters))
