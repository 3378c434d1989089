"""The worker's end of the protocol, without a process: frames in, frames out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sestina.backend.local_runtime import LocalRuntime
from sestina.backend.options import EngineOptions
from sestina.backend.process import messages
from sestina.backend.process.errors import from_data
from sestina.backend.process.worker import Outbox, Worker
from sestina.lang import ir
from sestina.lang.errors import EngineClosed, InvalidParams
from sestina.lang.session import ROOT, SessionOptions


class Wire:
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._changed = threading.Condition()

    def send(self, frame: bytes) -> None:
        with self._changed:
            self._frames.append(frame)
            self._changed.notify_all()

    def reports(self) -> list[Any]:
        """All so far, in order."""
        with self._changed:
            return [messages.decode_report(frame) for frame in self._frames]

    def wait_for(self, kind: type) -> Any:
        """The first report of a kind."""
        with self._changed:
            while True:
                for frame in self._frames:
                    report = messages.decode_report(frame)
                    if isinstance(report, kind):
                        return report
                assert self._changed.wait(30), f"no {kind.__name__}"


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def worker(wire: Wire) -> Iterator[Worker]:
    runtime = LocalRuntime("scripted", EngineOptions(max_total_tokens=256))
    yield Worker(runtime, Outbox(wire))  # type: ignore[arg-type]
    runtime.close()


def told(worker: Worker, command: Any) -> bool:
    return worker.carry_out(messages.encode(command))


def submitted(*ops: ir.Op) -> messages.Submit:
    return messages.Submit(1, ROOT, messages.ops_to_data(ops))


def test_a_frame_that_does_not_fit_ends_its_session_alone(worker: Worker, wire: Wire) -> None:
    assert told(worker, messages.Open(1, SessionOptions(), 0))
    assert worker.carry_out(msgspec.msgpack.encode(["Submit", 1, ROOT, [["Exec", "rm"]]]))
    failed = wire.wait_for(messages.SessionFailed)
    assert failed.session == 1
    assert isinstance(from_data(failed.error), InvalidParams)
    assert told(worker, messages.Call(5, "stats"))
    assert wire.wait_for(messages.Returned).number == 5


def test_a_constraint_that_is_none_ends_its_session_alone(worker: Worker, wire: Wire) -> None:
    assert told(worker, messages.Open(1, SessionOptions(), 0))
    op = ["Gen", "x", {}, {"kind": "regex", "pattern": "a("}, False]
    assert worker.carry_out(msgspec.msgpack.encode(["Submit", 1, ROOT, [op]]))
    assert "InvalidConstraint" in str(from_data(wire.wait_for(messages.SessionFailed).error))


def test_commands_to_sessions_that_are_gone_are_ignored(worker: Worker) -> None:
    for command in (
        submitted(ir.Release()),
        messages.Cancel(1, None),
        messages.CloseSession(1),
        messages.Acknowledge(1, 5),
    ):
        assert told(worker, command)


def test_what_comes_for_a_session_that_is_closing_harms_nobody(worker: Worker, wire: Wire) -> None:
    assert told(worker, messages.Open(1, SessionOptions(), 0))
    worker._sessions[1]._is_closed = True  # as between a close and the engine's taking it up
    assert told(worker, submitted(ir.Text(("a",))))
    assert told(worker, messages.Call(5, "stats"))
    assert wire.wait_for(messages.Returned).number == 5


def test_an_engine_that_breaks_answers_and_says_why(
    worker: Worker, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(worker, messages.Open(1, SessionOptions(), 0))
    monkeypatch.setattr(worker._runtime.core.scheduler, "step", lambda: 1 // 0)
    told(worker, submitted(ir.Text(("a",)), ir.Gen("x")))
    worker._runtime.loop._thread.join(30)
    assert not told(worker, messages.Call(5, "stats"))
    error = from_data(wire.wait_for(messages.Broken).error)
    assert isinstance(error, EngineClosed)
    assert "ZeroDivisionError" in str(error)
    assert type(error.__cause__) is ZeroDivisionError


def test_stop_answers_everything_first(worker: Worker, wire: Wire) -> None:
    assert told(worker, messages.Open(1, SessionOptions(), 0))
    assert told(worker, submitted(ir.Text(("a",))))
    assert wire.wait_for(messages.Events).events  # they wait for nothing
    assert not told(worker, messages.Stop())
    *reports, last = wire.reports()
    assert isinstance(last, messages.Stopped)
    events = [data for report in reports for _, data in report.events]
    assert [type(data).__name__ for data in events] == ["Chunk", "Done", "Ended", "NoneType"]
