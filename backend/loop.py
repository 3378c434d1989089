"""The engine's thread: commands in, scheduler steps, nothing else touches the engine's state."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from sestina.backend.core import Core
from sestina.backend.program import Program
from sestina.lang.errors import EngineClosed, InternalError

T = TypeVar("T")


class Loop:
    """Runs commands in order of arrival between steps, and steps while there is work.

    With `check` the KV books are audited after every step, else only their totals when the loop
    falls idle.
    """

    def __init__(self, core: Core, *, check: bool) -> None:
        self._core = core
        self._check = check
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # Weak: a program that nobody reads and nothing computes for needs no end.
        self._programs: weakref.WeakSet[Program] = weakref.WeakSet()
        self._closing = False
        self._error: EngineClosed | None = None
        self._lock = threading.Lock()  # guards _error against a post that would never run
        self._thread = threading.Thread(target=self._run, name="sestina-engine", daemon=True)
        self._thread.start()
        # Torch must not be running when the interpreter takes its threads down.
        atexit.register(self.close)

    def post(self, command: Callable[[], None]) -> None:
        """Run `command` on the engine's thread soon. EngineClosed if it has ended."""
        with self._lock:
            if self._error is not None:
                raise self._error
            self._inbox.put(command)

    def post_if_open(self, command: Callable[[], None]) -> None:
        """As `post`, for what no longer matters once the engine is closed."""
        try:
            self.post(command)
        except EngineClosed:
            return

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the engine's thread and return its result."""
        result: Future[T] = Future()

        def command() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        self.post(command)
        return result.result()

    def add(self, program: Program) -> None:
        """On the engine's thread: a program to be ended with the engine."""
        self._programs.add(program)

    def stop(self) -> None:
        """Let the thread cancel every program and end, soon. Takes no lock: finalizers may call."""

        def stop() -> None:
            self._closing = True

        self._inbox.put(stop)

    def close(self) -> None:
        """`stop`, and wait for it. Idempotent; callable from any thread."""

        self.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        error = EngineClosed("the engine is closed")
        try:
            while not self._closing:
                self._turn()
        except BaseException as cause:
            error = EngineClosed(f"the engine's thread ended: {type(cause).__name__}: {cause}")
            error.__cause__ = cause
        with self._lock:
            self._error = error
        self._refuse_rest(error)
        atexit.unregister(self.close)

    def _turn(self) -> None:
        """Every command that has arrived, then one step; sleeps when there is neither."""
        self._drain()
        if self._closing:
            return
        if self._core.scheduler.step():
            if self._check:
                self._core.scheduler.check()
            return
        if self._core.scheduler.waiting:
            raise InternalError("sequences wait, but nothing was computed that they could wait for")
        self._core.scheduler.check_totals()
        self._inbox.get()()

    def _drain(self) -> None:
        while True:
            try:
                command = self._inbox.get_nowait()
            except Empty:
                return
            command()

    def _refuse_rest(self, error: EngineClosed) -> None:
        """The thread ends: whatever was submitted gets its answer all the same."""
        with suppress(Empty):
            while True:
                command = self._inbox.get_nowait()
                with suppress(Exception):
                    command()  # what it submits is refused below
        for program in list(self._programs):
            with suppress(Exception):  # books that are broken keep no reader waiting
                program.close(error)
