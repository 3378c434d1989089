"""What the engine did when: a ring of spans, read as a Chrome trace.

Open the file that `Trace.save` writes in Perfetto (ui.perfetto.dev) or chrome://tracing. Format:
"Trace Event Format", Google, 2016: complete events ("X") with times in microseconds, counters ("C")
and names of tracks ("M").
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sestina.lang.branch_record import render_op
from sestina.lang.ir import Op
from sestina.lang.session import Done, Event, Failed

STEPS = "steps"
BATCHES = "batches"

_ENGINE_PID = 1
_PROGRAMS_PID = 2


class Span(NamedTuple):
    """Something that took time. `track` is the line it is drawn on: STEPS, BATCHES, or a branch as
    "program 7/0.1". Times in seconds of `time.perf_counter`."""

    track: str
    name: str
    start_s: float
    end_s: float
    args: dict[str, Any]


class Tracer:
    """Keeps the latest `capacity` spans. Used on the engine's thread only; appending costs 1 us.

    An engine without one (None) records nothing and pays for nothing.
    """

    def __init__(self, capacity: int) -> None:
        self._spans: deque[Span] = deque(maxlen=capacity)
        self._num_recorded = 0

    def record(self, track: str, name: str, start_s: float, **args: Any) -> None:
        """A span that ends now."""
        self._num_recorded += 1
        self._spans.append(Span(track, name, start_s, time.perf_counter(), args))

    def snapshot(self) -> Trace:
        return Trace(tuple(self._spans), self._num_recorded - len(self._spans), os.getpid())


class OpTracer:
    """Records one program's ops: from when each is first in its branch's queue to its answer."""

    def __init__(self, tracer: Tracer, number: int) -> None:
        self._tracer = tracer
        self._program = f"program {number}"
        self._queued: dict[str, deque[tuple[float, Op]]] = {}
        self._answered_s: dict[str, float] = {}

    def submitted(self, branch: str, ops: Iterable[Op]) -> None:
        now = time.perf_counter()
        self._queued.setdefault(branch, deque()).extend((now, op) for op in ops)

    def answered(self, event: Event) -> None:
        """Ops are answered in order. Events that answer nothing are ignored."""
        if not isinstance(event, (Done, Failed)) or not self._queued.get(event.branch):
            return
        submitted_s, op = self._queued[event.branch].popleft()
        started_s = max(submitted_s, self._answered_s.get(event.branch, 0.0))
        args = _facts(event)
        self._tracer.record(f"{self._program}/{event.branch}", render_op(op), started_s, **args)
        self._answered_s[event.branch] = time.perf_counter()


def _facts(event: Done | Failed) -> dict[str, Any]:
    if isinstance(event, Failed):
        return {"op": event.op, "error": f"{type(event.error).__name__}: {event.error}"}
    facts: dict[str, Any] = {"op": event.op}
    for meta in event.meta[:1]:
        facts["finish_reason"] = meta.finish_reason
        for name in ("prefilled", "cached", "forced", "drafted", "accepted", "sampled"):
            facts[name] = sum(getattr(each, name) for each in event.meta)
    return facts


@dataclass(frozen=True, slots=True)
class Trace:
    """The latest spans of an engine, oldest first; `num_dropped` older ones are gone."""

    spans: tuple[Span, ...]
    num_dropped: int
    process_id: int

    def to_chrome(self) -> dict[str, Any]:
        """The JSON object format of Chrome's trace viewer."""
        tracks = _numbered(span.track for span in self.spans)
        events: list[dict[str, Any]] = [
            _metadata("process_name", _ENGINE_PID, 0, "engine"),
            _metadata("process_name", _PROGRAMS_PID, 0, "programs"),
        ]
        for track, (pid, tid) in tracks.items():
            events.append(_metadata("thread_name", pid, tid, track))
        for span in self.spans:
            pid, tid = tracks[span.track]
            events.append(
                {
                    "ph": "X",
                    "name": span.name,
                    "cat": span.track if pid == _ENGINE_PID else "op",
                    "pid": pid,
                    "tid": tid,
                    "ts": span.start_s * 1e6,
                    "dur": (span.end_s - span.start_s) * 1e6,
                    "args": span.args,
                }
            )
            if span.track == STEPS:
                events.append(_counter(span))
        return {
            "traceEvents": events,
            "displayTimeUnit": "ms",
            "otherData": {"process_id": self.process_id, "num_dropped": self.num_dropped},
        }

    def save(self, path: str | Path) -> Path:
        """Write the JSON to a file, which is returned."""
        path = Path(path)
        path.write_text(json.dumps(self.to_chrome()), encoding="utf-8")
        return path


def _numbered(names: Iterable[str]) -> Mapping[str, tuple[int, int]]:
    """(pid, tid) of every track: the engine's own first, then branches as they appear."""
    tracks = {STEPS: (_ENGINE_PID, 1), BATCHES: (_ENGINE_PID, 2)}
    for name in names:
        if name not in tracks:
            tracks[name] = (_PROGRAMS_PID, len(tracks))
    return tracks


def _metadata(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def _counter(step: Span) -> dict[str, Any]:
    """The queue and the batch after a step, as a graph."""
    values = {key: step.args[key] for key in ("running", "waiting")}
    return {
        "ph": "C",
        "name": "sequences",
        "pid": _ENGINE_PID,
        "ts": step.end_s * 1e6,
        "args": values,
    }
