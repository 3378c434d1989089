"""Errors name the user's file and line, wherever the op was written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest

from sestina.lang.api import function, gen, select, user
from sestina.lang.clients.mock import MockBackend
from sestina.lang.errors import ModelError, ProgramError
from sestina.lang.state import State


def marked_line(fn: Callable[..., Any]) -> str:
    """file:line of the line of `fn` that ends in `# here`."""
    lines, start = inspect.getsourcelines(fn)
    (offset,) = [i for i, line in enumerate(lines) if line.rstrip().endswith("# here")]
    return f"{__file__}:{start + offset}"


def iadd(s: State) -> None:
    s += "a"
    s += gen("ok") + gen("x")  # here


def append(s: State) -> None:
    s.append([gen("x")])  # here


def called_role(s: State) -> None:
    s.user(gen("x"))  # here


def scoped_role(s: State) -> None:
    with s.user():
        s += gen("x")  # here


def in_a_fork(s: State) -> None:
    forks = s.fork(2)
    forks += gen("x")  # here
    forks.join()


def in_a_function(s: State) -> None:
    def inner(t: State) -> None:
        t += user(select("x", ["a", "b"]))  # here

    inner(s)


@pytest.mark.parametrize("body", [iadd, append, called_role, scoped_role, in_a_fork, in_a_function])
def test_a_failed_op_names_its_line(body: Callable[[State], None]) -> None:
    backend = MockBackend({"ok": "ok", "x": ModelError("broken")})
    state = function(body).run(backend=backend)
    error = state.error()
    assert isinstance(error, ProgramError)
    assert error.location == marked_line(body)
    assert marked_line(body) in str(error)
    assert "'x' failed: ModelError: broken" in str(error)


def raises(s: State) -> None:
    s += gen("x")
    raise KeyError("mine")  # here


def test_an_exception_of_the_function_names_its_line() -> None:
    (state,) = function(raises).run_batch([{}], backend=MockBackend())
    with pytest.raises(ProgramError, match="program 'raises' failed: KeyError") as raised:
        state.text()
    assert raised.value.location == marked_line(raises)


def test_frames_of_sestina_are_never_the_users_line() -> None:
    codes = [
        f.__code__ for f in vars(State).values() if isinstance(getattr(f, "__code__", 0), CodeType)
    ]
    assert codes  # the check below looks at real functions
    state = function(iadd).run(backend=MockBackend({"ok": "ok"}))
    error = state.error()
    assert isinstance(error, ProgramError)
    assert not any(code.co_filename in str(error.location) for code in codes)
