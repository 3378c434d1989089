"""The front's end: a worker process, its two sockets, and the sessions in it."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
import zmq

from sestina.backend.event_queue import EventQueue
from sestina.backend.options import EngineOptions
from sestina.backend.process import messages
from sestina.backend.process.errors import from_data, sestina_error
from sestina.backend.process.ledger import Ledger
from sestina.backend.process.remote_session import RemoteSession
from sestina.backend.stats import EngineStats
from sestina.backend.trace import Trace
from sestina.lang.errors import EngineClosed, InvalidParams
from sestina.lang.ir import Op
from sestina.lang.session import Backend, SessionOptions

T = TypeVar("T")

MAX_PATH = 80
"""Bytes of a directory's name: the path of a Unix socket has at most 107."""

WORKER = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from sestina.backend.process.worker import run; run(sys.argv[1])"
)
"""The worker finds modules exactly where this process does: not in its working directory, which
`python -m` would look into first."""

LAST_WORDS_MS = 50
"""How long to look for what a worker sent just before it ended."""

STOP_TIMEOUT_S = 60.0
"""A worker that has not ended so long after it was asked to is killed."""


class WorkerRuntime:
    """A `sestina.backend.runtime.Runtime` whose state lives in another process.

    One thread receives. Commands are sent by whoever has them, under a lock, and never wait: the
    sockets queue without a bound (a program whose reader falls behind is paused by `max_unread`).
    Each side notices the other's end, however it came, by a pipe that only the other holds open:
    the worker's standard input, and `_alive` here.
    """

    def __init__(self, model: object, options: EngineOptions) -> None:
        if not isinstance(model, (str, Path)) or not str(model):
            raise InvalidParams(
                "process=True takes the name or path of a model, which the worker loads; "
                f"got {type(model).__name__}"
            )
        self._options = options
        self._lock = threading.Lock()  # guards the outbox, the ledgers and _error
        self._error: EngineClosed | None = None
        self._ledgers: dict[int, Ledger] = {}
        self._calls: dict[int, Future[msgspec.Raw]] = {}
        self._numbers = itertools.count()
        self._dropped: deque[int] = deque()  # sessions that nobody holds; finalizers append
        self._ready: Future[None] = Future()
        self._ending = EngineClosed("the engine's process ended before it was ready")
        self._directory = _directory_for_sockets()
        self._process, self._alive = _start_process(self._directory)
        self._zmq = zmq.Context()
        self._inbox = self._zmq.socket(zmq.PULL)
        self._outbox = self._zmq.socket(zmq.PUSH)
        for socket in (self._inbox, self._outbox):
            socket.set_hwm(0)
            socket.linger = 0
        self._inbox.bind(f"ipc://{self._directory}/events")
        self._outbox.reconnect_ivl = 5  # milliseconds; the worker is not there yet
        self._outbox.connect(f"ipc://{self._directory}/commands")
        self._receiver = threading.Thread(target=self._receive, name="sestina-events", daemon=True)
        self._receiver.start()
        atexit.register(self.close)
        try:
            self._send(messages.Start(str(model), options))
            self._ready.result()
        except BaseException:  # also Ctrl-C while the model loads
            self._process.kill()
            self._receiver.join()
            raise

    # ---- for the engine

    def open(self, holder: Backend, options: SessionOptions, seed: int) -> RemoteSession:
        number = next(self._numbers)
        queue = EventQueue(self._options.max_unread // 4)
        queue.on_read = lambda n: self.send_if_open(messages.Acknowledge(number, n))
        self._send(
            messages.Open(number, options, seed),
            lambda: self._ledgers.update({number: Ledger(seed, queue)}),
        )
        return RemoteSession(holder, self, number, queue, self._dropped)

    def stats(self) -> EngineStats:
        return self._call("stats", EngineStats)

    def flush_cache(self) -> int:
        return self._call("flush_cache", int)

    def cache_text(self) -> str:
        return self._call("cache_text", str)

    def cache_data(self) -> dict[str, object]:
        return self._call("cache_data", dict)

    def trace(self) -> Trace:
        return self._call("trace", Trace)

    def stop(self) -> None:
        stdin = self._process.stdin
        if stdin is not None:
            with suppress(OSError):
                stdin.close()

    def close(self) -> None:
        with suppress(EngineClosed):
            self._send(messages.Stop())
        self._receiver.join(STOP_TIMEOUT_S)
        if self._receiver.is_alive():
            self._process.kill()
            self._receiver.join()

    # ---- for sessions

    def submit(self, number: int, branch: str, ops: list[Op]) -> None:
        """Send ops; EngineClosed if the worker has ended, InvalidParams for what is no data."""
        self._send(
            messages.Submit(number, branch, messages.ops_to_data(ops)),
            lambda: self._note(number, branch, ops),
        )

    def _note(self, number: int, branch: str, ops: list[Op]) -> None:
        ledger = self._ledgers.get(number)
        if ledger is None:
            raise EngineClosed("this session has ended")
        ledger.submitted(branch, ops)

    def send_if_open(self, command: messages.Command) -> None:
        """For what no longer matters once the worker has ended."""
        with suppress(EngineClosed):
            self._send(command)

    # ---- sending

    def _send(self, command: messages.Command, note: Callable[[], None] | None = None) -> None:
        """Send, after `note` has been taken of it; both or neither."""
        frame = messages.encode(command)
        with self._lock:
            if self._error is not None:
                raise self._error
            if note is not None:
                note()
            self._end_dropped()
            self._outbox.send(frame)

    def _end_dropped(self) -> None:
        """End the sessions that nobody holds. With the lock held: later words come later."""
        while self._dropped:
            number = self._dropped.popleft()
            self._outbox.send(messages.encode(messages.CloseSession(number)))

    def _call(self, method: str, kind: type[T]) -> T:
        number = next(self._numbers)
        future: Future[msgspec.Raw] = Future()
        self._send(messages.Call(number, method), lambda: self._calls.update({number: future}))
        return msgspec.msgpack.decode(future.result(), type=kind)

    # ---- receiving, on a thread of its own

    def _receive(self) -> None:
        poller = zmq.Poller()
        poller.register(self._inbox, zmq.POLLIN)
        poller.register(self._alive, zmq.POLLIN)
        try:
            while self._alive not in dict(poller.poll()):
                self._handle_all()
            while self._inbox.poll(LAST_WORDS_MS):
                self._handle_all()
        except Exception as error:  # what came fits no schema: nothing after it can be trusted
            self._ending = EngineClosed(f"the engine's process broke the protocol: {error}")
            self._ending.__cause__ = error
            self._process.kill()
        finally:
            self._end()

    def _handle_all(self) -> None:
        with suppress(zmq.Again):
            while True:
                self._handle(self._inbox.recv(zmq.NOBLOCK))

    def _handle(self, frame: bytes) -> None:
        report = messages.decode_report(frame)
        _HANDLERS[type(report)](self, report)
        if self._dropped:
            with self._lock:
                if self._error is None:
                    self._end_dropped()

    def _on_events(self, report: messages.Events) -> None:
        for number, data in report.events:
            ledger = self._ledgers.get(number)
            if ledger is None:
                continue  # it was failed as a whole
            if data is not None:
                ledger.received(messages.event_from_data(data))
                continue
            with self._lock:
                del self._ledgers[number]
            ledger.fail_rest(EngineClosed("this session has ended"))

    def _on_session_failed(self, report: messages.SessionFailed) -> None:
        with self._lock:
            ledger = self._ledgers.pop(report.session, None)
        if ledger is not None:
            ledger.fail_rest(sestina_error(report.error))

    def _on_ready(self, _: messages.Ready) -> None:
        self._ending = EngineClosed("the engine's process ended by itself")
        self._ready.set_result(None)

    def _on_start_failed(self, report: messages.StartFailed) -> None:
        self._ready.set_exception(from_data(report.error))

    def _on_returned(self, report: messages.Returned) -> None:
        with self._lock:
            future = self._calls.pop(report.number)
        future.set_result(msgspec.Raw(bytes(report.result)))

    def _on_raised(self, report: messages.Raised) -> None:
        with self._lock:
            future = self._calls.pop(report.number)
        future.set_exception(from_data(report.error))

    def _on_broken(self, report: messages.Broken) -> None:
        error = from_data(report.error)
        self._ending = error if isinstance(error, EngineClosed) else self._ending

    def _on_stopped(self, _: messages.Stopped) -> None:
        self._ending = EngineClosed("the engine is closed")

    def _end(self) -> None:
        """Nothing will come any more: answer everything, and free what this end holds."""
        status = self._process.wait()
        error = self._ending
        if status < 0 and error.__cause__ is None:
            error = EngineClosed(f"the engine's process was killed by signal {-status}")
        elif status > 0:
            error = EngineClosed(f"{error}, with status {status}: see what it wrote to stderr")
        with self._lock:
            self._error = error
            ledgers, self._ledgers = list(self._ledgers.values()), {}
            calls, self._calls = list(self._calls.values()), {}
            self._outbox.close()
        for ledger in ledgers:
            ledger.fail_rest(error)
        for future in calls:
            future.set_exception(error)
        if not self._ready.done():
            self._ready.set_exception(error)
        self._inbox.close()
        self._zmq.term()
        self.stop()
        os.close(self._alive)
        shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.close)


_HANDLERS: Mapping[type, Callable[[WorkerRuntime, Any], None]] = MappingProxyType(
    {
        messages.Events: WorkerRuntime._on_events,
        messages.SessionFailed: WorkerRuntime._on_session_failed,
        messages.Ready: WorkerRuntime._on_ready,
        messages.StartFailed: WorkerRuntime._on_start_failed,
        messages.Returned: WorkerRuntime._on_returned,
        messages.Raised: WorkerRuntime._on_raised,
        messages.Broken: WorkerRuntime._on_broken,
        messages.Stopped: WorkerRuntime._on_stopped,
    }
)


def _start_process(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The worker, and a descriptor that reaches its end when the worker does."""
    alive, held_by_worker = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(directory), *sys.path],
            stdin=subprocess.PIPE,
            pass_fds=(held_by_worker,),
            start_new_session=True,  # Ctrl-C is for the program that the user sees
        )
    except BaseException:
        os.close(alive)
        shutil.rmtree(directory, ignore_errors=True)
        raise
    finally:
        os.close(held_by_worker)
    return process, alive


def _directory_for_sockets() -> Path:
    """A new directory that only this user may enter; short, whatever TMPDIR says."""
    if not zmq.has("ipc"):
        raise InvalidParams("process=True needs sockets between processes, which are absent here")
    directory = tempfile.mkdtemp(prefix="sestina-")
    if len(directory.encode()) > MAX_PATH:
        shutil.rmtree(directory)
        directory = tempfile.mkdtemp(prefix="sestina-", dir="/tmp")
    return Path(directory)
