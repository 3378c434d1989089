"""What goes wrong stays with the program it belongs to, and the engine's end answers everyone."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engines import scripted_engine
from support.sessions import drain, events_of, failure, outcomes, values

import sestina
from sestina import Engine, EngineClosed, InternalError, InvalidParams, SamplingParams
from sestina.backend import completion
from sestina.backend.models.scripted import prefix_hash_script
from sestina.backend.scheduler import delivery
from sestina.backend.scheduler.rows import Ints
from sestina.backend.scheduler.scheduler import Scheduler
from sestina.kernels.masked_sampling import Drawn, RowSettings
from sestina.lang.constraint import Constraint
from sestina.lang.ir import Fork, Gen, Join, Op, Release, Select, Text
from sestina.lang.session import ROOT, Done, Ended, Failed, SessionOptions

START = Text(("Q: ",))


def gen(name: str = "x", **params: Any) -> Gen:
    return Gen(name, SamplingParams.of({"max_tokens": 4, "ignore_eos": True, **params}))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with scripted_engine(num_merges=0) as engine:
        yield engine
        assert engine.generate("still there?", max_tokens=1).finish_reason


# ---- faults stay where they belong


def boom_at(trigger: int) -> Callable[[tuple[int, ...]], Any]:
    script = prefix_hash_script(261)

    def fragile(tokens: tuple[int, ...]) -> Any:
        if trigger in tokens:
            raise RuntimeError("boom")
        return script(tokens)

    return fragile


@pytest.mark.parametrize("op", [gen(n=3), Select("x", ("yes", "no"))])
def test_what_a_broken_pass_wrote_is_never_shared(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    """Siblings that are cancelled for it must not publish what they failed to compute."""
    ops = [Text(("a longer prompt",)), op, Release()]
    with scripted_engine(num_merges=0) as engine:
        wanted = values(events_of(engine, (ROOT, ops)))
    with scripted_engine(num_merges=0) as engine:
        monkeypatch.setattr(engine.model.model, "forward", lambda *_: 1 // 0)
        assert "ZeroDivisionError" in failure(events_of(engine, (ROOT, ops)))
        monkeypatch.undo()
        assert values(events_of(engine, (ROOT, ops))) == wanted


def test_a_sequence_that_breaks_the_model_fails_alone() -> None:
    prompts = ["one", "two", "three!", "four", "five!"]
    with scripted_engine(boom_at(ord("!")), num_merges=0) as engine:
        options = {"max_tokens": 8, "seed": 1, "logit_bias": {ord("!"): -1e9}}
        wanted = [engine.generate(p, **options).text for p in prompts if "!" not in p]
        got = engine.generate(prompts, **options)
    assert [c.error is not None for c in got] == ["!" in p for p in prompts]
    assert [c.text for c in got if c.error is None] == wanted


def test_a_row_that_cannot_be_drawn_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fussy(logits: torch.Tensor, places: Ints, settings: RowSettings, *rest: Any) -> Drawn:
        if 7 in settings.top_k:
            raise RuntimeError("boom")
        return draw(logits, places, settings, *rest)

    draw = delivery.draw
    monkeypatch.setattr(delivery, "draw", fussy)
    with scripted_engine(num_merges=0) as engine:
        sessions = [engine.open(SessionOptions(seed=1)) for _ in range(4)]
        for i, session in enumerate(sessions):
            session.submit(ROOT, [START, gen(top_k=7 if i == 2 else 8), Release()])
        found = [outcomes(drain(session, 1))[1] for session in sessions]
    assert found == [Done, Done, Failed, Done]


@pytest.mark.parametrize("op", [gen(return_logprob=True, logprob_start_len=0), Select("x", ("!",))])
def test_a_prompt_that_cannot_be_scored_is_an_error(op: Op) -> None:
    def script(tokens: tuple[int, ...]) -> Any:
        return [float("nan") if len(tokens) == 2 else 0.0] * 261

    with scripted_engine(script, num_merges=0, max_batch_tokens=1) as engine:
        events = events_of(engine, (ROOT, [Text(("a!",)), op, Release()]))
    assert "no token can be" in failure(events)


def test_a_join_that_fails_late_does_not_touch_the_child(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the child's end that lets it run, but it is not the child's fault."""
    encode = engine.tokenizer.encode

    def fussy(text: str, *, allow_control: bool = False) -> list[int]:
        if "?" in text:
            raise ValueError("cannot write '?'")
        return encode(text, allow_control=allow_control)

    monkeypatch.setattr(engine.tokenizer, "encode", fussy)
    events = events_of(
        engine,
        (ROOT, [START, Fork(("0.0",)), Text(("?",))]),
        ("0.0", [gen(max_tokens=20), Release()]),
        (ROOT, [Join(("0.0",), "concate_and_append"), Release()]),
    )
    monkeypatch.undo()
    assert outcomes(events) == [Done, Done, Done, Failed, Failed]
    assert outcomes(events, "0.0") == [Done, Done]


def test_a_program_whose_books_are_broken_ends_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = engine.open(SessionOptions())
    monkeypatch.setattr(session._program, "submit", lambda *_: 1 // 0)
    session.submit(ROOT, [START])
    assert [type(e) for e in session.events()] == [Ended]


def test_an_engine_that_breaks_answers_everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = scripted_engine()
    sessions = [engine.open(SessionOptions()) for _ in range(3)]
    engine.stats()  # the loop has taken them all up: it breaks at a submit, not at an open
    monkeypatch.setattr(engine._core.scheduler, "step", lambda: 1 // 0)
    for session in sessions:
        try:
            session.submit(ROOT, [START, gen(), Release()])
        except EngineClosed:
            continue
        assert all(o is Failed for o in outcomes(list(session.events()))[1:])
    with pytest.raises(EngineClosed, match="ZeroDivisionError"):
        engine.stats()
    engine.close()


# ---- compiling


def test_what_a_cancelled_program_wanted_compiled_is_dropped(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, compiled = threading.Event(), []
    compiler = engine._core.compiler
    original = compiler.compile

    def slow(constraint: Constraint) -> object:
        compiled.append(constraint)
        gate.wait(30)
        return original(constraint)

    monkeypatch.setattr(compiler, "compile", slow)
    session = engine.open(SessionOptions())
    session.submit(ROOT, [START, *(Gen("x", constraint=sestina.regex(f"a{i}")) for i in range(9))])
    session.close()
    assert outcomes(list(session.events())) == [Done, *[Failed] * 9]
    gate.set()
    assert engine.generate("more", regex="b", max_tokens=1).text == "b"
    assert len(compiled) <= 2


def test_closing_while_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = scripted_engine()
    gate, started = threading.Event(), threading.Event()

    def slow(constraint: Constraint) -> object:
        started.set()
        gate.wait(30)
        raise InvalidParams("late")

    monkeypatch.setattr(engine._core.compiler, "compile", slow)
    session = engine.open(SessionOptions())
    session.submit(ROOT, [START, Gen("x", constraint=sestina.regex("a")), Release()])
    started.wait(30)
    closing = threading.Thread(target=engine.close)
    closing.start()
    assert "the engine is closed" in failure(list(session.events()))
    gate.set()
    closing.join(30)
    assert not closing.is_alive()


# ---- the end


@pytest.mark.parametrize("attempt", range(8))
def test_closing_at_any_time_answers_what_was_submitted(attempt: int) -> None:
    engine = scripted_engine()
    is_open = threading.Event()
    found: list[list[type]] = []

    def use() -> None:
        for i in range(200):
            try:
                session = engine.open(SessionOptions(seed=i))
                session.submit(ROOT, [START, gen(), Release()])
            except EngineClosed:
                return
            is_open.set()
            found.append(outcomes(drain(session, 1)))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    is_open.wait(30)
    for _ in range(attempt):
        engine.stats()
    engine.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert found
    assert {len(each) for each in found} == {3}


def test_an_engine_that_nobody_holds_ends_by_itself() -> None:
    engine = scripted_engine()
    thread, gone = engine._loop._thread, weakref.ref(engine)
    session = engine.open(SessionOptions())
    del engine
    gc.collect()
    assert gone() is not None, "a session keeps its engine"
    session.submit(ROOT, [START, Release()])
    assert outcomes(drain(session, 1)) == [Done, Done]
    del session
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
    assert gone() is None


def test_an_interrupted_wait_cancels_the_completion() -> None:
    class Interrupted:
        is_cancelled = False

        def __getitem__(self, name: str) -> object:
            raise KeyboardInterrupt

        def cancel(self) -> None:
            self.is_cancelled = True

    state = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        completion._completion(state)  # type: ignore[arg-type]
    assert state.is_cancelled


LEAVES_WHILE_RUNNING = """
from support.engines import tiny_engine
from sestina import function, gen

@function
def endless(s):
    s += "go" + gen("x", max_tokens=1900, ignore_eos=True)

states = [endless.stream(backend=tiny_engine()) for _ in range(2)]
for state in states:
    next(iter(state.text_iter("x")))
"""


@pytest.mark.slow
def test_an_interpreter_may_exit_with_an_engine_at_work() -> None:
    lib = Path(__file__).parents[1] / "lib"  # where `support` is
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_WHILE_RUNNING],
        cwd=lib,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_idle_engine_checks_the_totals_of_its_books_but_not_every_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two requests of one user the engine is idle: what it does then is latency."""
    with scripted_engine() as engine:
        engine._loop._check = False
        monkeypatch.setattr(engine._core.scheduler, "check", lambda: 1 // 0)
        for _ in range(3):
            assert engine.generate("hello", max_tokens=2).finish_reason
        engine._loop.call(lambda: check_of_wrong_totals(engine._core.scheduler))


def check_of_wrong_totals(scheduler: Scheduler) -> None:
    scheduler.check_totals()
    scheduler.cache.pool._num_free -= 1
    with pytest.raises(InternalError, match="KV accounting"):
        scheduler.check_totals()
    scheduler.cache.pool._num_free += 1
