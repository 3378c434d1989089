"""Many runs of one program: order, failures, stopping early."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sestina.lang.api import function, gen
from sestina.lang.clients.mock import MockBackend, MockCall
from sestina.lang.errors import EngineClosed, InvalidParams, ProgramError
from sestina.lang.running import derived_seed
from sestina.lang.session import SessionOptions
from sestina.lang.state import State


@function
def greet(s: State, name: str, mood: str = "glad") -> str:
    s += f"{name} is {mood}: " + gen("x")
    return name.upper()


def test_a_batch_is_in_order_and_every_item_has_its_own_seed() -> None:
    backend = MockBackend()
    items = [{"name": f"n{i}"} for i in range(50)]
    states = greet.run_batch(items, backend=backend, seed=1, max_tokens=3)
    assert [s.text() for s in states] == [f"n{i} is glad: <x>" for i in range(50)]
    assert [s.ret_value for s in states] == [f"N{i}" for i in range(50)]
    seeds = {session.options.seed for session in backend.sessions}
    assert seeds == {derived_seed(1, i) for i in range(50)}
    assert all(s.options.defaults.max_tokens == 3 for s in backend.sessions)
    assert all(s.is_closed for s in backend.sessions)


def test_an_empty_batch_and_one_thread() -> None:
    assert greet.run_batch([], backend=MockBackend()) == []
    states = greet.run_batch([("a",), ("b",)], backend=MockBackend(), num_threads=1)
    assert [s["x"] for s in states] == ["<x>", "<x>"]


@pytest.mark.parametrize("num_threads", [0, -1, True, 1.5, "all"])
def test_a_number_of_threads_is_checked(num_threads: Any) -> None:
    with pytest.raises(InvalidParams, match="num_threads"):
        greet.run_batch([("a",)], backend=MockBackend(), num_threads=num_threads)


@pytest.mark.parametrize("bad", [{}, ("a", "b", "c"), "a", 3, {"nome": "a"}])
def test_a_wrong_item_is_named_before_any_starts(bad: Any) -> None:
    backend = MockBackend()
    with pytest.raises(TypeError, match="batch item 1"):
        greet.run_batch([{"name": "a"}, bad], backend=backend)
    assert backend.sessions == []


@pytest.mark.parametrize("num_threads", [1, 4, "auto"])
@pytest.mark.parametrize("generator_style", [False, True])
def test_a_failing_item_harms_no_other_and_is_told_by_its_state(
    num_threads: Any, generator_style: Any
) -> None:
    """Finding in SGLang: one failed item can block a whole run_batch for ever."""

    @function
    def item(s: State, i: int) -> str:
        s += f"{i}:" + gen("x")
        if i == 3:
            raise ZeroDivisionError("mine")
        s += f"{s['x']}|" + gen("y")
        return str(s["y"])

    def answer(call: MockCall) -> str:
        if call.text.startswith("5:"):
            raise OSError("out of paper")
        return "fine"

    states = list(
        item.run_batch(
            [{"i": i} for i in range(8)],
            backend=MockBackend(answer),
            num_threads=num_threads,
            generator_style=generator_style,
        )
    )
    assert [s.ret_value for s in states] == [None if i in (3, 5) else "fine" for i in range(8)]
    assert [s.error() is None for s in states] == [i not in (3, 5) for i in range(8)]
    assert isinstance(states[3].error(), ZeroDivisionError)
    assert isinstance(states[5].error(), ProgramError)
    with pytest.raises(ProgramError, match="out of paper"):
        states[5]["x"]


def test_a_lazy_batch_yields_in_order_and_stops_when_closed() -> None:
    gate = threading.Event()
    started: list[str] = []

    def answer(call: MockCall) -> str:
        started.append(call.text)
        if not call.text.startswith("n0 "):
            gate.wait(30)
        return "ok"

    backend = MockBackend(answer)
    batch = greet.run_batch(
        [{"name": f"n{i}"} for i in range(1000)],
        backend=backend,
        num_threads=2,
        generator_style=True,
    )
    assert next(iter(batch)).text().startswith("n0 ")
    threading.Timer(0.05, gate.set).start()
    batch.close()  # type: ignore[attr-defined]
    assert len(started) < 10


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    greet.run_batch([("a",), ("b",)], backend=MockBackend(), progress_bar=True)
    assert "2/2" in capsys.readouterr().err


def test_a_backend_that_is_gone_ends_the_batch() -> None:
    class Gone(MockBackend):
        def open(self, options: SessionOptions) -> Any:
            raise EngineClosed("gone")

    with pytest.raises(EngineClosed, match="gone"):
        greet.run_batch([("a",), ("b",)], backend=Gone())


def test_reading_what_a_raising_body_never_appended_gives_the_cause() -> None:
    @function
    def broken(s: State) -> None:
        s += "a"
        raise LookupError("no such customer")

    state = broken.run_batch([()], backend=MockBackend())[0]
    with pytest.raises(ProgramError, match="no such customer") as raised:
        _ = state["x"]
    assert isinstance(raised.value.__cause__, LookupError)
    assert "test_batch_run.py" in str(raised.value)
