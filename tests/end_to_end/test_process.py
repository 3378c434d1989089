"""An engine in a process of its own: the same results, and no way to make it hang."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support.engines import scripted_engine, worker_engine
from support.sessions import answers, drain, events_of, failure, outcomes

from sestina import (
    Engine,
    EngineClosed,
    InvalidParams,
    ModelError,
    ProgramError,
    SamplingParams,
    State,
    function,
    gen,
    regex,
    select,
)
from sestina.backend.loading import LoadedModel
from sestina.backend.process import client
from sestina.lang.ir import Fork, Gen, Join, Op, Release, Select, Text, Var
from sestina.lang.session import ROOT, Done, Ended, Event, Failed, GenMeta, SessionOptions, Usage

START = Text(("Q: ",))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with worker_engine(max_unread=32, trace=1000) as engine:
        yield engine


def endless(name: str = "x", *, stream: bool = True) -> Gen:
    return Gen(name, SamplingParams(max_tokens=3000, ignore_eos=True), stream=stream)


def worker_of(engine: Any) -> int:
    return int(engine._runtime._process.pid)


# ---- the same results


PARAMS = SamplingParams(max_tokens=12, return_logprob=True, top_logprobs_num=2)
PROGRAMS: list[list[tuple[str, list[Op]]]] = [
    [(ROOT, [START, Gen("x", PARAMS, stream=True), Text((Var("x"),)), Release()])],
    [(ROOT, [START, Gen("x", PARAMS.merge(SamplingParams(n=3))), Release()])],
    [(ROOT, [START, Gen("x", PARAMS, regex("[a-f]{3,9}") & ~regex("a+")), Release()])],
    [(ROOT, [START, Select("x", ("yes", "no", "perhaps")), Release()])],
    [(ROOT, [Gen("x"), Release()])],
    [(ROOT, [START, Gen("x", SamplingParams(max_tokens=9999)), Release()])],
    [
        (ROOT, [START, Fork(("0.0", "0.1"))]),
        ("0.0", [Gen("a", PARAMS), Release()]),
        ("0.1", [Text(("b",)), Gen("b", PARAMS), Release()]),
        (ROOT, [Join(("0.0", "0.1"), "concate_and_append"), Gen("c", PARAMS), Release()]),
    ],
]


Counts = TypeVar("Counts", GenMeta, Usage)


def timeless(events: list[Event]) -> list[str]:
    """Events as text, branch by branch, without what depends on which branch was first, and on what
    came before on the engine: seconds, passes, whether a token was computed or found in the cache,
    and what was guessed."""
    found: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, Ended):
            usage = replace(_settled(event.usage), queued_s=0.0, forward_passes=0)
            event = replace(event, usage=usage)
        elif isinstance(event, Done):
            event = replace(event, meta=tuple(map(_settled, event.meta)))
        found.append((event.branch, repr(event)))
    return [text for _, text in sorted(found, key=lambda each: each[0])]


def _settled(counts: Counts) -> Counts:
    tokens = counts.prefilled + counts.cached
    return replace(counts, prefilled=tokens, cached=0, drafted=0, accepted=0)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_events_are_those_of_an_engine_in_this_process(engine: Engine, number: int) -> None:
    engine.flush_cache()
    with scripted_engine() as here:
        wanted = events_of(here, *PROGRAMS[number])
    assert timeless(events_of(engine, *PROGRAMS[number])) == timeless(wanted)


@function
def story(s: State, subject: str) -> None:
    s += f"About {subject}: " + gen("x", max_tokens=8, schema=list[int])
    forks = s.fork(3)
    for fork in forks:
        fork += gen("y", max_tokens=5) + select("z", ["a", "b"])
    forks.join()
    s["sum"] = sum(s["x"])


@pytest.mark.slow
def test_programs_give_the_same_values_with_and_without_seeds() -> None:
    batch = [(f"number {i}",) for i in range(6)]

    def values(engine: Engine) -> list[Any]:
        states = [story.run(*item, backend=engine) for item in batch]
        states += story.run_batch(batch, backend=engine, seed=3)
        return [(s["x"], s["y"], s["z"], s["sum"], s.text(), s.usage.seed) for s in states]

    with worker_engine() as there, scripted_engine() as here:
        assert values(there) == values(here)


def test_errors_keep_class_message_and_the_users_line(engine: Engine) -> None:
    @function
    def hopeless(s: State) -> None:
        s += "go" + gen("x", regex="a{50}", max_tokens=3)

    def failure_on(backend: Engine) -> ProgramError:
        with pytest.raises(ProgramError) as caught:
            _ = hopeless.run(backend=backend)["x"]
        return caught.value

    with scripted_engine() as here:
        there, wanted = failure_on(engine), failure_on(here)
    assert str(there) == str(wanted)
    assert type(there.cause) is type(wanted.cause) is InvalidParams
    assert Path(__file__).name in (there.location or "")


def test_completions_stats_and_traces(engine: Engine) -> None:
    before = engine.stats()
    meta = engine.generate("a few words", max_tokens=5, ignore_eos=True).meta
    after = engine.stats()
    assert meta.sampled == 5
    assert after.sampled - before.sampled == 5
    names = {span.name for span in engine.trace().spans}
    assert {"step", "gen 'completion'"} <= names
    assert "a few word" in engine.cache_text()  # the last token was healed
    assert engine.cache_data()["cached"] == after.cached_slots
    assert engine.flush_cache() > 0


def test_what_lives_in_the_other_process_is_not_to_be_had_here(engine: Engine) -> None:
    with pytest.raises(InvalidParams, match="another process"):
        _ = engine.model
    with pytest.raises(InvalidParams, match="name or path"):
        Engine(LoadedModel("x", None, None), process=True)  # type: ignore[arg-type]


def test_text_that_cannot_be_sent_is_refused_on_its_line(engine: Engine) -> None:
    session = engine.open(SessionOptions())
    with pytest.raises(InvalidParams, match="surrogates"):
        session.submit(ROOT, [Text(("\ud800",))])
    session.submit(ROOT, [START, Release()])
    assert outcomes(drain(session, 1)) == [Done, Done]


def test_a_slow_reader_pauses_its_program_and_no_other(engine: Engine) -> None:
    session: Any = engine.open(SessionOptions(seed=1))
    gen_200 = Gen("x", SamplingParams(max_tokens=200, ignore_eos=True), stream=True)
    session.submit(ROOT, [START, gen_200, Release()])
    while (stats := engine.stats()).num_running or stats.num_waiting:
        pass
    assert len(session._events._events) <= 32 + 3
    assert engine.generate("others go on", max_tokens=50, ignore_eos=True).meta.sampled == 50
    events = drain(session, 1)
    assert outcomes(events) == [Done] * 3


def test_a_session_that_nobody_holds_is_ended(engine: Engine) -> None:
    gc.collect()  # an earlier test's error holds its program by way of a traceback
    session = engine.open(SessionOptions())
    session.submit(ROOT, [START])
    del session
    assert engine.stats().num_programs == 0


@pytest.mark.slow
def test_several_engines_side_by_side(engine: Engine) -> None:
    with worker_engine() as other:
        assert worker_of(other) != worker_of(engine)
        for each in (engine, other, engine):
            assert each.generate("hello", max_tokens=2).finish_reason
    assert engine.generate("still there", max_tokens=2).finish_reason


# ---- the end, however it comes


def test_what_cannot_start_says_why_and_leaves_nothing_behind(tmp_path: Path) -> None:
    missing = tmp_path / "no model here"
    with pytest.raises(ModelError) as there:
        Engine(missing, process=True)
    with pytest.raises(ModelError) as here:
        Engine(missing)
    assert str(there.value) == str(here.value)


def use_until_it_ends(engine: Engine, found: list[list[Event]], is_busy: threading.Event) -> None:
    try:
        session = engine.open(SessionOptions())
        session.submit(ROOT, [START, Fork(("0.0",)), endless(), Text(("never",)), Release()])
        session.submit("0.0", [endless(), Release()])
        session.submit(ROOT, [Join(("0.0",))])
    except EngineClosed:
        is_busy.set()
        return
    events: list[Event] = []
    for event in session.events():
        events.append(event)
        is_busy.set()
    found.append(events)


@pytest.mark.parametrize(
    "end",
    [
        "SIGKILL",
        pytest.param("SIGTERM", marks=pytest.mark.slow),
        pytest.param("close", marks=pytest.mark.slow),
    ],
)
def test_the_worker_ends_while_it_streams(end: str) -> None:
    """Every op of every program has its answer, every branch its end, and nobody waits."""
    engine = worker_engine()
    found: list[list[Event]] = []
    busy = [threading.Event() for _ in range(4)]
    users = [threading.Thread(target=use_until_it_ends, args=(engine, found, b)) for b in busy]
    for user in users:
        user.start()
    for each in busy:
        assert each.wait(30)
    if end == "close":
        engine.close()
    else:
        os.kill(worker_of(engine), getattr(signal, end))
    for user in users:
        user.join(30)
        assert not user.is_alive()
    assert len(found) == 4
    for events in found:
        assert len(answers(events)) == 6
        assert len(answers(events, "0.0")) == 2
        assert [type(a) for a in answers(events)[2:]] == [Failed] * 4
        assert sum(isinstance(e, Ended) for e in events) == 2
        reason = "engine is closed" if end == "close" else f"signal {int(getattr(signal, end))}"
        assert reason in failure(events)
        assert all(isinstance(a.error, EngineClosed) for a in answers(events)[2:])  # type: ignore[union-attr]
    for use in (engine.stats, lambda: engine.open(SessionOptions()), engine.flush_cache):
        with pytest.raises(EngineClosed):
            use()
    directory = engine._runtime._directory  # type: ignore[attr-defined]
    engine.close()
    engine.close()
    assert not directory.exists()


@pytest.mark.slow
def test_a_call_under_way_when_the_worker_dies_is_answered() -> None:
    engine = worker_engine()
    os.kill(worker_of(engine), signal.SIGSTOP)  # so that it cannot answer first
    found: list[type] = []

    def ask() -> None:
        try:
            engine.stats()
        except EngineClosed as error:
            found.append(type(error))

    asking = threading.Thread(target=ask)
    asking.start()
    while not engine._runtime._calls:  # type: ignore[attr-defined]
        pass
    os.kill(worker_of(engine), signal.SIGKILL)
    asking.join(30)
    assert found == [EngineClosed]
    engine.close()


@pytest.mark.slow
def test_a_program_says_what_became_of_the_worker() -> None:
    @function
    def waits(s: State) -> None:
        s += "go" + gen("x", max_tokens=3000, ignore_eos=True)
        next(iter(s.text_iter()))
        os.kill(worker_of(engine), signal.SIGKILL)
        _ = s["x"]

    engine = worker_engine()
    with pytest.raises(ProgramError, match="killed by signal 9") as caught:
        waits.run(backend=engine)
    assert isinstance(caught.value.cause, EngineClosed)
    assert Path(__file__).name in (caught.value.location or "")
    engine.close()


def run_script(code: str) -> subprocess.CompletedProcess[str]:
    """In a session of its own. Returns only when the worker, too, has let go of its output."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1] / "lib",
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )


LIGHT = """
import sys
from sestina import Engine, MockBackend, function, gen
with Engine("scripted", process=True, max_total_tokens=256) as engine:
    assert engine.generate("hello", regex="[ab]+", max_tokens=4).text
print(sorted({"torch", "numba", "transformers"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_the_front_needs_no_torch() -> None:
    done = run_script(LIGHT)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "[]\n")


HOSTILE = """
from sestina import Engine
with Engine("scripted", process=True, max_total_tokens=256) as engine:
    print(engine.generate("hello", max_tokens=1).finish_reason)
"""


@pytest.mark.slow
def test_the_worker_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = tmp_path / "script.py"
    script.write_text(HOSTILE, encoding="utf-8")
    for module in ("msgspec", "zmq", "json", "sestina"):
        (elsewhere / f"{module}.py").write_text("raise SystemExit('from the cwd')", "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=elsewhere, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in ("length\n", "stop\n")


@pytest.mark.slow
def test_a_worker_that_cannot_begin_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WORKER", "raise SystemExit(3)")
    with pytest.raises(EngineClosed, match="status 3"):
        worker_engine()


INTERRUPTED = """
import os, signal
from support.engines import worker_engine
from sestina import function, gen

@function
def endless(s):
    s += "go" + gen("x", max_tokens=3000, ignore_eos=True)

with worker_engine() as engine:
    state = endless.stream(backend=engine)
    pieces = state.text_iter("x")
    next(pieces)
    try:
        os.killpg(os.getpgrp(), signal.SIGINT)  # what a terminal does at Ctrl-C
        for piece in pieces:
            pass
    except KeyboardInterrupt:
        state.cancel()
    print("interrupted;", engine.generate("still there", max_tokens=2).finish_reason)
"""


@pytest.mark.slow
def test_ctrl_c_reaches_the_program_and_not_the_worker() -> None:
    done = run_script(INTERRUPTED)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "interrupted; length\n"


LEFT_ALONE = """
import os, signal
from support.engines import worker_engine
from sestina import function, gen

engine = worker_engine()
@function
def endless(s):
    s += "go" + gen("x", max_tokens=3000, ignore_eos=True)

next(iter(endless.stream(backend=engine).text_iter("x")))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code"), [("exits", 0), ("os.kill(os.getpid(), signal.SIGKILL)", -9)]
)
def test_a_front_that_is_gone_takes_its_worker_along(how: str, code: int) -> None:
    done = run_script(LEFT_ALONE + ("" if how == "exits" else how))
    assert (done.returncode, done.stderr) == (code, "")
