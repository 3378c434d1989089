"""Reading while a program runs: pieces of text, threads and event loops."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sestina.lang.api import function, gen, user
from sestina.lang.clients.mock import MockBackend
from sestina.lang.errors import ProgramError
from sestina.lang.state import State


@function
def greet(s: State, name: str, mood: str = "glad") -> str:
    s += f"{name} is {mood}: " + gen("x")
    return name.upper()


def test_streaming_gives_the_text_in_pieces() -> None:
    backend = MockBackend({"x": "0123456789"}, chunk_len=4)
    state = greet.stream("Ada", backend=backend)
    pieces = list(state.text_iter())
    assert pieces == ["Ada is glad: ", "0123", "4567", "89"]
    assert state.text() == "".join(pieces)
    assert list(greet.stream("Ada", backend=backend).text_iter("x")) == ["0123", "4567", "89"]
    assert state.ret_value == "ADA"


def test_a_run_that_does_not_stream_can_be_iterated_too() -> None:
    state = greet.run("Ada", backend=MockBackend({"x": "0123456789"}))
    assert list(state.text_iter("x")) == ["0123456789"]
    assert list(state.text_iter()) == ["Ada is glad: ", "0123456789"]


def test_a_reader_may_ask_for_a_variable_before_the_body_appends_it() -> None:
    gate = threading.Event()

    @function
    def late(s: State) -> None:
        s += gen("x")
        gate.wait(30)
        s += gen("y") + user("end")
        s["z"] = 5

    state = late.stream(backend=MockBackend())
    pieces: dict[str | None, list[str]] = {}
    threads = [
        threading.Thread(target=lambda n=name: pieces.update({n: list(state.text_iter(n))}))
        for name in ("x", "y", "z", None)
    ]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(30)
    assert "".join(pieces["y"]) == "<y>"
    assert pieces["z"] == ["5"]
    assert "".join(pieces[None]) == state.text()


def test_a_name_that_never_comes_is_a_key_error_at_the_end() -> None:
    state = greet.stream("Ada", backend=MockBackend())
    with pytest.raises(KeyError, match="no variable 'z'"):
        list(state.text_iter("z"))


def test_inside_the_body_iterating_ends_with_what_was_appended() -> None:
    @function
    def reads(s: State) -> str:
        s += "a" + gen("x")
        return "".join(s.text_iter())

    state = reads.stream(backend=MockBackend())
    assert state.text() == state.ret_value == "a<x>"


def test_an_exception_of_a_streamed_body_reaches_every_reader() -> None:
    @function
    def broken(s: State) -> None:
        s += gen("x")
        _ = s["x"]
        raise ZeroDivisionError("mine")

    state = broken.stream(backend=MockBackend())
    pieces = []
    with pytest.raises(ProgramError, match="ZeroDivisionError: mine"):
        pieces.extend(state.text_iter())
    assert isinstance(state.error(), ZeroDivisionError)
    assert state["x"] == "<x>"
    with pytest.raises(ProgramError, match="mine"):
        state.text()


def test_arun_in_a_running_loop() -> None:
    backend = MockBackend()

    async def main() -> list[State]:
        return await asyncio.gather(*(greet.arun(f"n{i}", backend=backend) for i in range(40)))

    states = asyncio.run(main())
    assert [s.text() for s in states] == [f"n{i} is glad: <x>" for i in range(40)]


def test_an_async_function_awaits_its_values() -> None:
    @function
    async def talk(s: State, name: str) -> str:
        s += f"{name}: " + gen("x")
        value = str(await s.aget("x"))
        s += value + gen("y")
        return await s.atext()

    async def main() -> list[State]:
        return await asyncio.gather(*(talk.arun(n, backend=MockBackend()) for n in "ab"))

    assert [s.ret_value for s in asyncio.run(main())] == ["a: <x><x><y>", "b: <x><x><y>"]
    for method in (talk.run, talk.stream):
        with pytest.raises(TypeError, match="arun"):
            method("a", backend=MockBackend())
    with pytest.raises(TypeError, match="arun"):
        talk.run_batch([("a",)], backend=MockBackend())


def test_arun_raises_what_the_function_raises() -> None:
    @function
    async def broken(s: State) -> None:
        s += gen("x")
        raise ZeroDivisionError("mine")

    @function
    def broken_too(s: State) -> None:
        s += gen("x")
        raise ZeroDivisionError("mine")

    for program in (broken, broken_too):
        with pytest.raises(ZeroDivisionError, match="mine"):
            asyncio.run(program.arun(backend=MockBackend()))


def test_streaming_in_an_event_loop() -> None:
    backend = MockBackend({"x": "0123456789"}, chunk_len=4)

    async def main() -> tuple[list[str], list[Any]]:
        state = greet.stream("Ada", backend=backend)
        pieces, pairs = await asyncio.gather(collect(state.text_async_iter()), with_meta(state))
        return pieces, pairs

    async def collect(pieces: Any) -> list[Any]:
        return [piece async for piece in pieces]

    async def with_meta(state: State) -> list[Any]:
        return await collect(state.text_async_iter("x", return_meta_data=True))

    pieces, pairs = asyncio.run(main())
    assert "".join(pieces) == "Ada is glad: 0123456789"
    assert [text for text, _ in pairs] == ["0123", "4567", "89"]
    assert pairs[0][1].ids == tuple(map(ord, "0123"))


def test_a_blocking_read_in_the_loop_that_pumps_is_an_error_not_a_hang() -> None:
    gate = threading.Event()

    @function
    def waits(s: State) -> None:
        s += gen("x")
        gate.wait(30)

    async def main() -> None:
        state = waits.stream(backend=MockBackend())
        reader = asyncio.ensure_future(state.atext())
        assert await state.aget("x") == "<x>"
        for _ in range(5):
            await asyncio.sleep(0)  # until the reader is the one who takes the next event
        with pytest.raises(RuntimeError, match="aget"):
            state.text()
        gate.set()
        assert await reader == "<x>"

    asyncio.run(main())


def test_cancelling_the_task_cancels_the_program() -> None:
    backend = MockBackend()

    @function
    async def endless(s: State) -> None:
        s += gen("x")
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.ensure_future(endless.arun(backend=backend))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert backend.sessions[0].is_closed
