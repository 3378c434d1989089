"""The front's end of one program: `sestina.lang.session.Session` over the worker's sockets."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

from sestina.backend.event_queue import EventQueue
from sestina.backend.known_branches import KnownBranches
from sestina.backend.process import messages
from sestina.lang.errors import EngineClosed
from sestina.lang.ir import Op
from sestina.lang.session import Backend, Event


class Worker(Protocol):
    """Where a session's commands go."""

    def submit(self, number: int, branch: str, ops: list[Op]) -> None: ...
    def send_if_open(self, command: messages.Command) -> None: ...


class RemoteSession:
    """One program on an engine in another process."""

    def __init__(
        self,
        holder: Backend,
        worker: Worker,
        number: int,
        events: EventQueue,
        dropped: deque[int],
    ) -> None:
        """`dropped` gets the number of a session that nobody closed and nobody can use any more."""
        self._holder = holder  # which would end if nobody held it
        self._worker = worker
        self._number = number
        self._events = events
        self._branches = KnownBranches()
        self._is_closed = False
        self._finalizer = weakref.finalize(self, dropped.append, number)
        self._finalizer.atexit = False
        self._lock = threading.Lock()  # keeps the order of one branch's ops across threads

    def submit(self, branch: str, ops: Sequence[Op]) -> None:
        """Send ops; never blocks. InvalidParams for text that UTF-8 cannot write."""
        with self._lock:
            if self._is_closed:
                raise EngineClosed("this session is closed")
            children = self._branches.check(branch, ops)
            self._worker.submit(self._number, branch, list(ops))
            self._branches.add(children)

    def events(self) -> Iterator[Event]:
        return iter(self._events)

    def aevents(self) -> AsyncIterator[Event]:
        return aiter(self._events)

    def cancel(self, branch: str | None = None) -> None:
        """Stop a branch (None: all) and its children. Idempotent."""
        self._worker.send_if_open(messages.Cancel(self._number, branch))

    def close(self) -> None:
        """End the session: what still runs is cancelled, events end. Idempotent."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._finalizer.detach()
            self._worker.send_if_open(messages.CloseSession(self._number))
