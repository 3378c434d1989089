from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sestina.lang.api import function, gen, user
from sestina.lang.clients.mock import MockBackend, MockCall
from sestina.lang.errors import EngineClosed, InvalidParams, ProgramError
from sestina.lang.params import SamplingParams
from sestina.lang.program import Program
from sestina.lang.running import (
    backend_or_default,
    derived_seed,
    flush_cache,
    get_default_backend,
    set_default_backend,
)
from sestina.lang.session import SessionOptions
from sestina.lang.state import State


@function
def greet(s: State, name: str, mood: str = "glad") -> str:
    """Says hello."""
    s += f"{name} is {mood}: " + gen("x")
    return name.upper()


def options_of(backend: MockBackend) -> SessionOptions:
    return backend.sessions[-1].options


def test_run_takes_arguments_and_options_side_by_side() -> None:
    backend = MockBackend()
    state = greet.run(
        "Ada", mood="sad", temperature=0.0, max_tokens=5, backend=backend, seed=3, namespace="a"
    )
    assert state.text() == "Ada is sad: <x>"
    assert state.ret_value == "ADA"
    expected = SamplingParams(temperature=0.0, max_tokens=5)
    assert options_of(backend) == SessionOptions(3, "a", expected)


def test_calling_is_running_and_max_new_tokens_is_max_tokens() -> None:
    backend = MockBackend()
    assert greet("Ada", backend=backend, max_new_tokens=4)["x"] == "<x>"
    assert options_of(backend).defaults == SamplingParams(max_tokens=4)
    with pytest.raises(InvalidParams, match="the same"):
        greet("Ada", backend=backend, max_new_tokens=4, max_tokens=4)


def test_a_parameter_of_the_function_wins_over_a_sampling_option() -> None:
    @function
    def hot(s: State, temperature: float) -> None:
        s += gen("x", temperature=temperature)

    backend = MockBackend()
    hot.run(temperature=0.5, top_k=3, backend=backend)
    assert options_of(backend).defaults == SamplingParams(top_k=3)
    assert backend.ops()[0] == gen("x", temperature=0.5).steps[0].op


@pytest.mark.parametrize(
    "fn",
    [
        lambda s, backend: None,
        lambda s, *, seed: None,
        lambda s, namespace="": None,
        lambda s, stream: None,
        lambda s, batch: None,
    ],
)
def test_a_parameter_named_like_an_option_of_run_is_refused_at_definition(fn: Any) -> None:
    with pytest.raises(TypeError, match=r"parameter '\w+' is an option of run"):
        function(fn)


def test_a_program_needs_a_state_as_its_first_parameter() -> None:
    for fn in (lambda: None, lambda *args: None, lambda *, s: None):
        with pytest.raises(TypeError, match="first parameter"):
            function(fn)
    assert function(lambda anything: anything.append("a")).run(backend=MockBackend()).text() == "a"


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((), {}, TypeError, "missing a required argument: 'name'"),
        (("a", "b", "c"), {}, TypeError, "too many positional"),
        (("a",), {"name": "b"}, TypeError, "multiple values"),
        (("a",), {"moood": "b"}, TypeError, "moood"),
        (("a",), {"temperature": -1.0}, InvalidParams, "temperature"),
    ],
)
def test_wrong_arguments_raise_before_a_session_is_opened(
    args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], message: str
) -> None:
    backend = MockBackend()
    with pytest.raises(error, match=message):
        greet.run(*args, backend=backend, **kwargs)
    assert backend.sessions == []


def test_function_also_decorates_with_parentheses() -> None:
    assert isinstance(function()(lambda s: None), Program)
    assert repr(greet) == "<Program greet(name: 'str', mood: 'str' = 'glad') -> 'str'>"
    assert greet.name == "greet"


def test_bind_fills_in_arguments_and_options() -> None:
    backend = MockBackend()
    sad = greet.bind(mood="sad", temperature=0.5)
    assert sad.run("Ada", backend=backend).text() == "Ada is sad: <x>"
    assert sad.run("Ada", mood="odd", temperature=0.1, backend=backend)["x"] == "<x>"
    assert options_of(backend).defaults == SamplingParams(temperature=0.1)
    states = sad.run_batch([("Ada",), {"name": "Bob", "mood": "gay"}], backend=backend)
    assert [s.text() for s in states] == ["Ada is sad: <x>", "Bob is gay: <x>"]


def test_an_exception_of_the_function_is_raised_and_closes_the_session() -> None:
    backend = MockBackend()

    @function
    def broken(s: State) -> None:
        s += gen("x")
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        broken.run(backend=backend)
    assert backend.sessions[0].is_closed


# Backends


def test_a_backend_is_needed_and_may_be_the_default() -> None:
    with pytest.raises(ValueError, match="no backend"):
        greet.run("Ada")
    with pytest.raises(TypeError, match="not a backend: str"):
        set_default_backend("gpt2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not a backend: str"):
        greet.run("Ada", backend="gpt2")
    backend = MockBackend()
    set_default_backend(backend)
    try:
        assert get_default_backend() is backend
        found = []
        thread = threading.Thread(target=lambda: found.append(greet.run("Ada")["x"]))
        thread.start()
        thread.join()
        assert found == ["<x>"]
        with pytest.raises(TypeError, match="no cache"):
            flush_cache()
    finally:
        set_default_backend(None)


def test_flush_cache_asks_the_backend() -> None:
    class Caching(MockBackend):
        flushed = 0

        def flush_cache(self) -> None:
            self.flushed += 1

    backend = Caching()
    flush_cache(backend)
    assert backend.flushed == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_program_inside_a_program_uses_its_backend_and_a_seed_derived_from_its(
    stream: bool,
) -> None:
    backend = MockBackend()

    @function
    def outer(s: State) -> None:
        s += greet.run("Ada")["x"]
        s += greet.run_batch([("Bob",)])[0]["x"]
        assert backend_or_default(None) is backend

    state = outer.run(backend=backend, seed=9, stream=stream)
    assert state.text() == "<x><x>"
    seeds = [session.options.seed for session in backend.sessions]
    assert seeds == [9, derived_seed(9, 0), derived_seed(derived_seed(9, 1), 0)]


# Batches


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


# Streaming


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


# Async


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
