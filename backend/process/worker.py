"""The worker's end: one engine, in a process that `client.py` started.

The main thread takes commands in order; the engine's thread sends what happened, in one frame a
turn.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import zmq

from sestina.backend.local_runtime import LocalRuntime
from sestina.backend.process import messages
from sestina.backend.process.errors import to_data
from sestina.backend.session import EngineSession
from sestina.lang.errors import EngineClosed, InvalidParams
from sestina.lang.session import Event

LINGER_MS = 5_000


class Outbox:
    """Sends to the front. Events are gathered until `flush`; everything else goes at once."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._events: list[tuple[int, Any]] = []  # touched on the engine's thread only

    def gather(self, number: int, event: Event | None) -> None:
        """None: the session's events have ended."""
        self._events.append((number, None if event is None else messages.event_to_data(event)))

    def flush(self) -> None:
        if self._events:
            events, self._events = self._events, []
            self.send(messages.Events(tuple(events)))

    def send(self, report: messages.Report) -> None:
        frame = messages.encode(report)
        with self._lock:
            self._socket.send(frame)


class RemoteSink:
    """The events of one program, on their way to the front."""

    def __init__(self, outbox: Outbox, number: int, on_end: Callable[[int], object]) -> None:
        self._outbox = outbox
        self._number = number
        self._on_end = on_end

    def put(self, event: Event) -> None:
        self._outbox.gather(self._number, event)

    def close(self) -> None:
        self._outbox.gather(self._number, None)
        self._on_end(self._number)


class Worker:
    """Carries out the front's commands on a LocalRuntime. Itself the sessions' holder."""

    def __init__(self, runtime: LocalRuntime, outbox: Outbox) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._sessions: dict[int, EngineSession] = {}
        runtime.loop.after_turn = outbox.flush
        self._calls: Mapping[str, Callable[[], Any]] = MappingProxyType(
            {
                "stats": runtime.stats,
                "flush_cache": runtime.flush_cache,
                "cache_text": runtime.cache_text,
                "cache_data": runtime.cache_data,
                "trace": runtime.trace,
            }
        )

    def open(self, options: Any) -> EngineSession:
        raise NotImplementedError("programs are opened by the front, by number")

    def carry_out(self, frame: bytes) -> bool:
        """One command; False once there are to be no more."""
        try:
            command = messages.decode_command(frame)
        except msgspec.ValidationError as error:
            self._refuse(messages.session_of(frame), error)
            return True
        if isinstance(command, messages.Stop):
            self._runtime.close()
            self._outbox.flush()
            self._outbox.send(messages.Stopped())
            return False
        try:
            _COMMANDS[type(command)](self, command)
        except EngineClosed as error:
            if not self._runtime.loop.is_over:
                return True  # only the session has ended: its ops are answered
            # The engine's thread broke. It has answered what it knew of; the rest follows from it.
            self._runtime.close()
            self._outbox.flush()
            self._outbox.send(messages.Broken(to_data(error)))
            return False
        except Exception as error:
            self._refuse(getattr(command, "session", None), error)
        return True

    def _refuse(self, number: int | None, error: Exception) -> None:
        """What was sent to a session is no use: it ends, and says why."""
        if number is None:
            raise error
        known = InvalidParams(f"{type(error).__name__}: {error}")
        known.__cause__ = error
        session = self._sessions.pop(number, None)
        if session is not None:
            session.close()
        self._outbox.send(messages.SessionFailed(number, to_data(known)))

    def _open(self, command: messages.Open) -> None:
        sink = RemoteSink(self._outbox, command.session, lambda n: self._sessions.pop(n, None))
        session = self._runtime.open(self, command.options, command.seed, sink)
        self._sessions[command.session] = session

    def _submit(self, command: messages.Submit) -> None:
        session = self._sessions.get(command.session)
        if session is not None:  # else it has ended, and everything is answered
            session.submit(command.branch, messages.ops_from_data(command.ops))

    def _cancel(self, command: messages.Cancel) -> None:
        session = self._sessions.get(command.session)
        if session is not None:
            session.cancel(command.branch)

    def _close(self, command: messages.CloseSession) -> None:
        session = self._sessions.get(command.session)
        if session is not None:
            session.close()

    def _acknowledge(self, command: messages.Acknowledge) -> None:
        session = self._sessions.get(command.session)
        if session is not None:
            session.acknowledge(command.num_events)

    def _call(self, command: messages.Call) -> None:
        try:
            result = msgspec.msgpack.encode(self._calls[command.method]())
        except EngineClosed:
            raise
        except Exception as error:
            self._outbox.send(messages.Raised(command.number, to_data(error)))
        else:
            self._outbox.send(messages.Returned(command.number, msgspec.Raw(result)))


_COMMANDS: Mapping[type, Callable[[Worker, Any], None]] = MappingProxyType(
    {
        messages.Open: Worker._open,
        messages.Submit: Worker._submit,
        messages.Cancel: Worker._cancel,
        messages.CloseSession: Worker._close,
        messages.Acknowledge: Worker._acknowledge,
        messages.Call: Worker._call,
    }
)


def run(directory: str) -> None:
    """Run an engine until the front says Stop, or has gone; then this process ends."""
    threading.Thread(
        target=_end_with_the_front, args=(directory,), name="sestina-front", daemon=True
    ).start()
    with zmq.Context() as context:
        commands, reports = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        for socket in (commands, reports):
            socket.set_hwm(0)
            socket.linger = LINGER_MS
        commands.bind(f"ipc://{directory}/commands")
        reports.connect(f"ipc://{directory}/events")
        with commands, reports:
            _serve(commands, Outbox(reports))
    os._exit(0)  # everything was sent; taking torch and numba down in order takes a second


def _serve(commands: zmq.Socket[bytes], outbox: Outbox) -> None:
    start = messages.decode_command(commands.recv())
    if not isinstance(start, messages.Start):
        raise InvalidParams(f"a worker begins with Start, not {type(start).__name__}")
    try:
        worker = Worker(LocalRuntime(start.model, start.options), outbox)
    except Exception as error:
        outbox.send(messages.StartFailed(to_data(error)))
        return
    # What was loaded lives as long as this process: not looked at, it cannot make the collector
    # stop the engine (0.12 s for a full collection with torch and numba loaded).
    gc.freeze()
    outbox.send(messages.Ready())
    while worker.carry_out(commands.recv()):
        pass


def _end_with_the_front(directory: str) -> None:
    """Standard input ends when the front does, even if it was killed."""
    sys.stdin.buffer.read()
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)
