"""One program's conversation with a runtime: ops go out at once, events come in when read.

There is no thread here. Whoever waits for something (a variable, the end of a branch, the next
piece of text) takes the next event from the session and records it; one reader does that at a
time, the others sleep until something changed. Readers may be threads or coroutines, mixed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from sestina.lang.branch_record import BranchRecord, Submitted
from sestina.lang.errors import Cancelled, EngineClosed, InternalError
from sestina.lang.expression import Step
from sestina.lang.ir import Fork, Join, Op, Release
from sestina.lang.location import Place
from sestina.lang.session import ROOT, Chunk, Done, Ended, Event, Failed, Session, Usage
from sestina.lang.sleepers import Sleepers
from sestina.lang.variable import Failure, Variable

Ready = Callable[[], bool]


class Interpreter:
    """Owns a Session and the records of its branches. All methods may be called by any thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changed = threading.Condition()
        self._records: dict[str, BranchRecord] = {ROOT: BranchRecord(ROOT)}
        self._events: Iterator[Event] = session.events()
        self._pump: int | None = None  # the thread that takes the next event, if any
        self._sleepers = Sleepers()
        self.is_over = False
        self._aborted: Failure | None = None

    @property
    def root(self) -> BranchRecord:
        return self._records[ROOT]

    def submit(self, record: BranchRecord, steps: Iterable[Step], place: Place | None) -> None:
        """Queue steps on a branch; never waits.

        Raises what the session raises (EngineClosed); then nothing was recorded.
        """
        steps = tuple(steps)
        with self._changed:
            self._session.submit(record.id, [step.op for step in steps])
            for op, parse in steps:
                record.ops.append(Submitted(op, place, record.variables_of(op, parse, place)))
            self._wake()

    def submit_op(
        self, record: BranchRecord, op: Op, variables: tuple[Variable, ...], place: Place | None
    ) -> None:
        """Queue one op and bind the variables that the caller made for it."""
        with self._changed:
            self._session.submit(record.id, [op])
            record.ops.append(Submitted(op, place, variables))
            for variable in variables:
                record.bind(variable)
            self._wake()

    def fork(self, record: BranchRecord, size: int, place: Place | None) -> list[BranchRecord]:
        """Queue a Fork op and start the records of its children: "0.0", "0.1", ... of "0"."""
        with self._changed:
            first = record.num_children
            children = tuple(f"{record.id}.{k}" for k in range(first, first + size))
            op = Fork(children)
            self._session.submit(record.id, [op])
            records = [BranchRecord(child, record) for child in children]
            self._records.update((child.id, child) for child in records)
            record.ops.append(Submitted(op, place))
            record.num_children += size
            self._wake()
        return records

    def release(self, record: BranchRecord, reason: str) -> None:
        """No more ops will come on this branch, because of `reason`. Idempotent."""
        with self._changed:
            if record.closed_by is None:
                record.closed_by = reason
                self._session.submit(record.id, [Release()])
                record.ops.append(Submitted(Release(), None))
                self._wake()

    def record_of(self, branch: str) -> BranchRecord:
        return self._records[branch]

    def records(self) -> list[BranchRecord]:
        with self._changed:
            return list(self._records.values())

    def notify(self) -> None:
        """Let waiting readers look again: something that is not an event changed."""
        with self._changed:
            self._wake()

    def wait(self, ready: Ready) -> None:
        """Take in events until `ready()`, or until there will be none.

        `ready` is called with the lock held; it must only look.
        """
        while True:
            with self._changed:
                while self._pump is not None and not (self.is_over or ready()):
                    if self._pump == threading.get_ident():
                        raise RuntimeError(
                            "a blocking read in the event loop that is receiving this program's "
                            "events would never end; use `await state.aget(name)` there"
                        )
                    self._changed.wait()
                if self.is_over or ready():
                    return
                self._pump = threading.get_ident()
            self._take(lambda: next(self._events, None))

    def _take(self, take: Callable[[], Event | None]) -> None:
        try:
            event = take()
        except Exception as error:
            self._received(None, error)
        except BaseException:
            # Ctrl-C while waiting: a generator that was interrupted is finished for good.
            self._events = self._session.events()
            self._stop_pumping()
            raise
        else:
            self._received(event)

    async def wait_async(self, ready: Ready) -> None:
        """The same without blocking the running event loop."""
        while True:
            with self._changed:
                if self.is_over or ready():
                    return
                sleeper = None if self._pump is None else self._sleepers.add()
                if sleeper is None:
                    self._pump = threading.get_ident()
            if sleeper is None:
                await self._take_async()
            else:
                await sleeper

    async def wait_for_end(self) -> None:
        """Until every branch has ended and the session is closed."""
        await self.wait_async(lambda: False)

    async def _take_async(self) -> None:
        # A fresh iterator per event: one kept here would belong to whichever loop made it.
        events = self._session.aevents()
        try:
            event = await anext(events, None)
            if (aclose := getattr(events, "aclose", None)) is not None:
                await aclose()
        except Exception as error:
            self._received(None, error)
        except BaseException:
            self._stop_pumping()
            raise
        else:
            self._received(event)

    def _stop_pumping(self) -> None:
        with self._changed:
            self._pump = None
            self._wake()

    def _received(self, event: Event | None, error: Exception | None = None) -> None:
        """Record an event, or that there will be no more (None), and wake everyone."""
        with self._changed:
            self._pump = None
            if event is None:
                self._finish(error)
            else:
                self._dispatch(event)
            self._wake()
            if isinstance(event, Ended):
                self.is_over = self.is_over or all(
                    record.usage is not None for record in self._records.values()
                )
            is_over = self.is_over
        if is_over:
            self._session.close()

    def _dispatch(self, event: Event) -> None:
        try:
            _HANDLERS[type(event)](self, self._records[event.branch], event)
        except (LookupError, AttributeError) as error:
            # Nothing after this can be trusted; readers must not wait for it either.
            broken = InternalError(f"the runtime sent an event nobody asked for: {event!r}")
            broken.__cause__ = error
            self._finish(broken)

    def _wake(self) -> None:
        self._changed.notify_all()
        self._sleepers.wake()

    def _on_chunk(self, record: BranchRecord, event: Chunk) -> None:
        record.chunks.append(event)

    def _on_done(self, record: BranchRecord, event: Done) -> None:
        submitted = record.ops[event.op]
        record.answered = event.op + 1
        for variable in submitted.variables:
            variable.resolve(event.value, event.meta)

    def _on_failed(self, record: BranchRecord, event: Failed) -> None:
        submitted = record.ops[event.op]
        record.answered = event.op + 1
        if record.failure is None:
            record.failed_op = event.op
            record.failure = self._origin(record, submitted.op)
        self._fail(record, submitted, event.error)

    def _origin(self, record: BranchRecord, op: Op) -> Failure | None:
        """The failure on another branch that this one follows from, so that it names the line."""
        if isinstance(op, Join):
            children = (self._records[child].failure for child in op.children)
            return next((failure for failure in children if failure is not None), None)
        parent = record.parent
        if parent is not None and parent.failed_op is not None:
            return parent.failure if parent.failed_op <= record.fork_op else None
        return None

    def _on_ended(self, record: BranchRecord, event: Ended) -> None:
        record.usage = event.usage
        self._fail_unanswered(record, Cancelled("the branch ended before this op was answered"))

    def _fail(self, record: BranchRecord, submitted: Submitted, cause: BaseException) -> None:
        """The first failure of a branch is the cause of all that follow on it."""
        if record.failure is None:
            was_stopped = isinstance(cause, (Cancelled, EngineClosed))
            aborted = self._aborted if was_stopped else None
            record.failure = aborted or submitted.failure(cause)
        for variable in submitted.variables:
            variable.fail(record.failure)

    def _fail_unanswered(self, record: BranchRecord, cause: BaseException) -> None:
        for submitted in record.ops[record.answered :]:
            self._fail(record, submitted, cause)
        record.answered = len(record.ops)
        failure = record.failure or self._aborted or Failure(cause, "variable", None)
        for variable in record.open_captures.values():
            variable.fail(failure)

    def _finish(self, error: Exception | None) -> None:
        cause = error or EngineClosed("the session ended before this op was answered")
        for record in self._records.values():
            self._fail_unanswered(record, cause)
            if record.usage is None:
                record.usage = Usage(seed=0)
        self.is_over = True

    def cancel(self, branch: str | None = None) -> None:
        """Stop a branch, or the whole program; what has no answer yet fails with Cancelled."""
        self._refuse_more("it was cancelled", branch)
        self._session.cancel(branch)

    def abort(self, failure: Failure) -> None:
        """The program itself failed: end the session; what has no answer fails with its cause."""
        with self._changed:
            self._aborted = self._aborted or failure
            self.root.failure = self.root.failure or failure
        self._refuse_more("the program has failed")
        self._session.close()

    def close(self) -> None:
        """End the session; what still runs is cancelled."""
        self._refuse_more("it was closed")
        self._session.close()

    def _refuse_more(self, reason: str, branch: str | None = None) -> None:
        with self._changed:
            records = self._records.values() if branch is None else [self._records[branch]]
            for record in records:
                record.closed_by = record.closed_by or reason
            self._wake()


_HANDLERS: Mapping[type, Callable[[Interpreter, BranchRecord, Any], None]] = MappingProxyType(
    {
        Chunk: Interpreter._on_chunk,
        Done: Interpreter._on_done,
        Failed: Interpreter._on_failed,
        Ended: Interpreter._on_ended,
    }
)
