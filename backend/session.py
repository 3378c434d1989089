"""The in-process end of the seam: `sestina.lang.session.Session` over the engine's thread."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence

from sestina.backend.core import Core
from sestina.backend.event_queue import EventQueue, EventSink
from sestina.backend.known_branches import KnownBranches
from sestina.backend.loop import Loop
from sestina.backend.program import Program
from sestina.lang import ir
from sestina.lang.errors import EngineClosed
from sestina.lang.session import Backend, Event, SessionOptions


class EngineSession:
    """One program on an engine in this process."""

    def __init__(
        self,
        engine: Backend,
        core: Core,
        loop: Loop,
        options: SessionOptions,
        seed: int,
        *,
        max_unread: int,
        sink: EventSink | None = None,
    ) -> None:
        """Events go to `sink`, whose reader calls `acknowledge`; None: to be read from here."""
        self._engine = engine  # which would end if nobody held it
        self._core = core
        self._loop = loop
        self._options = options
        self._events = EventQueue(max_unread // 4)
        self._program = Program(
            core, options, seed, sink or self._events, loop.post_if_open, max_unread
        )
        # Weak: an open queue must keep neither the program nor the engine alive.
        self._events.on_read = functools.partial(_acknowledge, loop, weakref.ref(self._program))
        self._branches = KnownBranches()
        self._is_closed = False
        self._lock = threading.Lock()  # keeps the order of one branch's ops across threads
        loop.post(lambda: loop.add(self._program))

    def submit(self, branch: str, ops: Sequence[ir.Op]) -> None:
        """Queue ops; starts compiling their constraints at once. Never blocks."""
        with self._lock:
            if self._is_closed:
                raise EngineClosed("this session is closed")
            children = self._branches.check(branch, ops)
            submitted = [
                (op, self._core.prepare(op, self._options.defaults))
                if isinstance(op, ir.Gen)
                else (op, None)
                for op in ops
            ]
            self._loop.post(
                lambda: self._program.guard(lambda: self._program.submit(branch, submitted))
            )
            self._branches.add(children)

    def events(self) -> Iterator[Event]:
        return iter(self._events)

    def aevents(self) -> AsyncIterator[Event]:
        return aiter(self._events)

    def acknowledge(self, num_events: int) -> None:
        """The reader has read so many more: what waited for it goes on."""
        _acknowledge(self._loop, weakref.ref(self._program), num_events)

    def cancel(self, branch: str | None = None) -> None:
        """Stop a branch (None: all) and its children. Idempotent."""
        self._loop.post_if_open(lambda: self._program.guard(lambda: self._program.cancel(branch)))

    def close(self) -> None:
        """End the session: what still runs is cancelled, events end. Idempotent."""
        with self._lock:
            self._is_closed = True
        self._loop.post_if_open(self._program.close)


def _acknowledge(loop: Loop, reference: weakref.ref[Program], num_events: int) -> None:
    program = reference()
    if program is not None:
        loop.post_if_open(lambda: program.guard(lambda: program.acknowledge(num_events)))
