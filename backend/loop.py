"""The engine's thread: commands in, scheduler steps, nothing else touches the engine's state."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from sestina.backend.core import Core
from sestina.backend.program import Program
from sestina.backend.trace import STEPS, OpTracer, Tracer
from sestina.lang.errors import EngineClosed, InternalError

T = TypeVar("T")


class Loop:
    """Runs commands in order of arrival between steps, and steps while there is work.

    With `check` the KV books are audited after every step, else only their totals when the loop
    falls idle. `after_turn` runs on the thread after each turn, for what is sent in one piece.
    """

    def __init__(self, core: Core, *, check: bool, tracer: Tracer | None = None) -> None:
        self._core = core
        self._check = check
        self._tracer = tracer
        self.after_turn: Callable[[], None] = _nothing
        self._num_programs = 0
        self.command_s = 0.0
        self.idle_s = 0.0
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

    @property
    def is_over(self) -> bool:
        """Whether the thread has ended, or is about to."""
        return self._error is not None

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
        if self._tracer is not None:
            program.tracer = OpTracer(self._tracer, self._num_programs)
        self._num_programs += 1
        self._programs.add(program)

    def num_programs(self) -> int:
        """On the engine's thread: how many programs are open."""
        return sum(not program.is_closed for program in self._programs)

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
        if not self._step():
            self._sleep()
        self.after_turn()

    def _drain(self) -> None:
        if self._inbox.empty():
            return
        started = time.perf_counter()
        while not self._inbox.empty():  # nobody else takes from it
            self._inbox.get_nowait()()
        self.after_turn()  # a step may take long: answers that need none do not wait for it
        self.command_s += time.perf_counter() - started

    def _step(self) -> bool:
        """One step of the scheduler; False when there was nothing to compute."""
        scheduler = self._core.scheduler
        started = time.perf_counter()
        if not scheduler.step():
            return False
        if self._tracer is not None:
            running, waiting = len(scheduler.running), len(scheduler.waiting)
            self._tracer.record(STEPS, "step", started, running=running, waiting=waiting)
        if self._check:
            scheduler.check()
        return True

    def _sleep(self) -> None:
        """Nothing to compute: wait for the next command, and run it."""
        scheduler = self._core.scheduler
        if scheduler.waiting:
            raise InternalError("sequences wait, but nothing was computed that they could wait for")
        scheduler.check_totals()
        self.after_turn()
        started = time.perf_counter()
        command = self._inbox.get()
        self.idle_s += time.perf_counter() - started
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
        self.after_turn()


def _nothing() -> None:
    return
