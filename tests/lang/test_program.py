from __future__ import annotations

import threading
from typing import Any

import pytest

from sestina.lang.api import function, gen
from sestina.lang.clients.mock import MockBackend
from sestina.lang.errors import InvalidParams
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
