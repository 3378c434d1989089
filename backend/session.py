"""The in-process end of the seam: `sestina.lang.session.Session` over the engine's thread."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Sequence

from sestina.backend.core import Core
from sestina.backend.event_queue import EventQueue
from sestina.backend.loop import Loop
from sestina.backend.program import Program
from sestina.lang import ir
from sestina.lang.errors import EngineClosed, InvalidParams
from sestina.lang.session import ROOT, Backend, Event, SessionOptions


class EngineSession:
    """One program on an engine in this process."""

    def __init__(
        self, engine: Backend, core: Core, loop: Loop, options: SessionOptions, seed: int
    ) -> None:
        self._engine = engine  # which would end if nobody held it
        self._core = core
        self._loop = loop
        self._options = options
        self._events = EventQueue()
        self._program = Program(core, options, seed, self._events, loop.post_if_open)
        self._known = {ROOT}
        self._is_closed = False
        self._lock = threading.Lock()  # keeps the order of one branch's ops across threads
        loop.post(lambda: loop.add(self._program))

    def submit(self, branch: str, ops: Sequence[ir.Op]) -> None:
        """Queue ops; starts compiling their constraints at once. Never blocks."""
        with self._lock:
            if self._is_closed:
                raise EngineClosed("this session is closed")
            if branch not in self._known:
                raise InvalidParams(f"no branch {branch!r}: no Fork announced it")
            children = self._new_children(ops)
            submitted = [
                (op, self._core.prepare(op, self._options.defaults))
                if isinstance(op, ir.Gen)
                else (op, None)
                for op in ops
            ]
            self._loop.post(
                lambda: self._program.guard(lambda: self._program.submit(branch, submitted))
            )
            self._known |= children

    def _new_children(self, ops: Sequence[ir.Op]) -> set[str]:
        """The branches that these ops announce; InvalidParams if one exists already."""
        children: set[str] = set()
        for child in (child for op in ops if isinstance(op, ir.Fork) for child in op.children):
            if child in self._known or child in children:
                raise InvalidParams(f"branch {child!r} exists already")
            children.add(child)
        return children

    def events(self) -> Iterator[Event]:
        return iter(self._events)

    def aevents(self) -> AsyncIterator[Event]:
        return aiter(self._events)

    def cancel(self, branch: str | None = None) -> None:
        """Stop a branch (None: all) and its children. Idempotent."""
        self._loop.post_if_open(lambda: self._program.guard(lambda: self._program.cancel(branch)))

    def close(self) -> None:
        """End the session: what still runs is cancelled, events end. Idempotent."""
        with self._lock:
            self._is_closed = True
        self._loop.post_if_open(self._program.close)
