from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest

from sestina.lang.api import function, gen, role, select, system, user, user_begin, user_end, var
from sestina.lang.clients.mock import MockBackend
from sestina.lang.errors import Cancelled, EngineClosed, InvalidParams, ModelError, ProgramError
from sestina.lang.ir import (
    CaptureBegin,
    CaptureEnd,
    Gen,
    Release,
    RoleBegin,
    RoleEnd,
    SetVar,
    Text,
    Var,
)
from sestina.lang.state import State


def run(body: Any, backend: MockBackend | None = None, **options: Any) -> State:
    return function(body).run(backend=backend or MockBackend(), **options)


def test_everything_appended_is_submitted_before_anything_is_read() -> None:
    backend = MockBackend()

    def body(s: State) -> None:
        s += "a" + gen("x", 5)
        s["note"] = 3
        s += ["b", var("x")]
        assert backend.sessions[0].submitted["0"] == [
            Text(("a",)),
            gen("x", 5).steps[0].op,
            SetVar("note", "3"),
            Text(("b",)),
            Text((Var("x"),)),
        ]

    state = run(body, backend)
    assert backend.ops()[-1] == Release()
    assert state.text() == "a<x>b<x>"
    assert state["note"] == 3


def test_reading_waits_and_later_values_replace_earlier_ones() -> None:
    def body(s: State) -> str:
        s += gen("x")
        first = s["x"]
        s += "," + gen("x")
        return f"{first}{s['x']}"

    backend = MockBackend(["one", "two"])
    state = run(body, backend)
    assert state.ret_value == "onetwo"
    assert state["x"] == state.get("x") == state.get_var("x") == "two"


def test_an_unknown_name_is_a_key_error_that_lists_the_known_ones() -> None:
    state = run(lambda s: s.append(gen("x") + gen("y")))
    with pytest.raises(KeyError, match="no variable 'z' in this program; known: 'x', 'y'"):
        state["z"]
    assert "x" in state
    assert "z" not in state
    assert state.get("z", 5) == 5


def test_n_values_and_meta_info() -> None:
    state = run(
        lambda s: s.append(gen("x", n=2, dtype=int) + select("c", ["a", "b"])),
        MockBackend(lambda call: str(call.index) if isinstance(call.op, Gen) else "b"),
    )
    assert state["x"] == [0, 1]
    meta = state.get_meta_info("c")
    assert meta.finish_reason == "select"
    assert meta["finish_reason"] == {"type": "select"}
    assert meta.get("output_token_logprobs") is None
    assert "output_token_logprobs" not in meta
    assert meta.choices is not None
    assert [c.text for c in meta.choices] == ["a", "b"]
    several = state.get_meta_infos("x")
    assert [m["completion_tokens"] for m in several] == [1, 1]


def test_meta_info_of_a_set_variable_is_a_key_error() -> None:
    state = run(lambda s: s.set_var("x", 1))
    with pytest.raises(KeyError, match="not generated"):
        state.get_meta_info("x")


def test_roles_as_expressions_as_calls_and_as_scopes_are_the_same() -> None:
    def expressions(s: State) -> None:
        s += user("a" + gen("x"))

    def calls(s: State) -> None:
        s.user(["a", gen("x")])

    def scopes(s: State) -> None:
        with s.user():
            s += "a"
            s += gen("x")

    def marks(s: State) -> None:
        s += user_begin() + "a"
        s += gen("x") + user_end()

    expected = [RoleBegin("user"), Text(("a",)), Gen("x"), RoleEnd("user"), Release()]
    for body in (expressions, calls, scopes, marks):
        backend = MockBackend()
        state = run(body, backend)
        assert backend.ops() == expected
        assert state.messages() == [{"role": "user", "content": "a<x>"}]


def test_messages_leave_out_text_between_turns_and_show_an_open_turn() -> None:
    def body(s: State) -> None:
        s += "before" + system("be") + "between" + role("tool", "t") + user_begin() + gen("x")

    assert run(body).messages() == [
        {"role": "system", "content": "be"},
        {"role": "tool", "content": "t"},
        {"role": "user", "content": "<x>"},
    ]


def test_a_role_scope_is_closed_when_its_body_raises() -> None:
    def body(s: State) -> None:
        with contextlib.suppress(ZeroDivisionError), s.user():
            s += "a"
            _ = 1 / 0
        s += user("b")

    assert [m["content"] for m in run(body).messages()] == ["a", "b"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (user(system("a")), "'system' begins inside role 'user'"),
        (user_end(), "'user' ends but no role is open"),
        (user_begin() + role("tool"), "'tool' begins inside"),
        ([user_begin(), "a", system("b")], "'system' begins inside"),
    ],
)
def test_roles_that_nest_are_refused_before_anything_is_submitted(part: Any, message: str) -> None:
    backend = MockBackend()

    def body(s: State) -> None:
        with pytest.raises(ProgramError, match=message) as raised:
            s += part
        assert raised.value.location is not None
        assert "test_state.py" in raised.value.location

    run(body, backend)
    assert backend.ops() == [Release()]


def test_var_scope_captures_a_span_and_is_closed_when_its_body_raises() -> None:
    backend = MockBackend()

    def body(s: State) -> None:
        with contextlib.suppress(ZeroDivisionError), s.var_scope("span"):
            s += "a" + gen("x")
            _ = 1 / 0
        s += var("span")

    state = run(body, backend)
    assert state["span"] == "a<x>"
    assert "".join(state.text_iter("span")) == "a<x>"
    assert state.text() == "a<x>a<x>"
    assert backend.ops()[0] == CaptureBegin("span")
    assert CaptureEnd("span") in backend.ops()


def test_var_scopes_nest_by_name_and_win_over_what_they_contain() -> None:
    def body(s: State) -> None:
        with s.var_scope("outer"):
            s += "a"
            with s.var_scope("x"):
                s += "b" + gen("x")
        with s.var_scope("again"), pytest.raises(ValueError, match="already open"):
            s.var_scope("again")

    state = run(body)
    assert state["x"] == "b<x>"
    assert state["outer"] == "ab<x>"


def test_reading_an_open_var_scope_is_an_error_not_a_hang() -> None:
    def body(s: State) -> None:
        with s.var_scope("span"):
            s += "a"
            with pytest.raises(ProgramError, match="still open"):
                s["span"]

    assert run(body)["span"] == "a"


def test_appending_nothing_is_fine_and_none_is_refused() -> None:
    backend = MockBackend()

    def body(s: State) -> None:
        s += ""
        s += []
        with pytest.raises(ValueError, match="None"):
            s += None

    assert run(body, backend).text() == ""
    assert backend.ops() == [Release()]


def test_nothing_can_be_added_after_the_program() -> None:
    state = run(lambda s: None)
    for add in (lambda: state.append("a"), lambda: state.fork(2)):
        with pytest.raises(ProgramError, match="the program has ended"):
            add()


def test_a_variable_can_be_set_after_the_program() -> None:
    state = run(lambda s: s.append(gen("x")))
    state["x"] = state["x"].upper()
    state["more"] = 1
    assert (state["x"], state["more"], state.names()) == ("<X>", 1, ["x", "more"])
    assert state.text() == "<x>"


def test_a_failed_op_fails_what_follows_and_keeps_what_came_before() -> None:
    backend = MockBackend({"x": "fine", "y": ValueError("broken")})

    def body(s: State) -> None:
        s += gen("x")
        s += gen("y")
        s += gen("z")

    state = run(body, backend)
    assert state["x"] == "fine"
    for name in ("y", "z"):
        with pytest.raises(ProgramError, match=r"gen 'y' failed: .*broken"):
            state[name]
    error = state.error()
    assert isinstance(error, ProgramError)
    assert isinstance(error.cause, ModelError)
    assert isinstance(error.cause.__cause__, ValueError)
    for read in (state.text, state.messages):
        with pytest.raises(ProgramError, match="broken"):
            read()
    pieces = state.text_iter()
    assert next(pieces) == "fine"
    with pytest.raises(ProgramError, match="broken"):
        next(pieces)


def test_appending_after_a_failure_does_not_hang() -> None:
    """The hang of SGLang's interpreter: a worker that died leaves later ops to nobody."""
    backend = MockBackend({"x": ValueError("broken")})

    def body(s: State) -> None:
        s += gen("x")
        with pytest.raises(ProgramError, match="broken"):
            s["x"]
        s += gen("y")
        with pytest.raises(ProgramError, match="gen 'x' failed"):
            s["y"]
        s.sync()
        assert s.error() is not None

    state = run(body, backend)
    assert isinstance(state.error(), ProgramError)


def test_a_value_that_does_not_parse_is_an_error_of_its_gen() -> None:
    state = run(lambda s: s.append(gen("x", dtype=int)), MockBackend({"x": "seven"}))
    assert state.text() == "seven"
    with pytest.raises(ProgramError, match="gen 'x' failed: ValueError") as raised:
        state["x"]
    assert "test_state.py" in str(raised.value.location)
    assert isinstance(state.error(), ProgramError)


def test_cancelling_fails_what_is_pending_and_refuses_more() -> None:
    def body(s: State) -> None:
        s += gen("x")
        _ = s["x"]
        s += gen("y")
        s.cancel()
        s.cancel()
        with pytest.raises(ProgramError, match="Cancelled"):
            s["y"]
        with pytest.raises(ProgramError, match="nothing can be added"):
            s += gen("z")

    state = run(body)
    assert state["x"] == "<x>"
    error = state.error()
    assert isinstance(error, ProgramError)
    assert isinstance(error.cause, Cancelled)


def test_a_with_scope_closes_the_session() -> None:
    backend = MockBackend()
    with run(lambda s: s.append(gen("x")), backend) as state:
        assert state["x"] == "<x>"
    assert backend.sessions[0].is_closed
    assert state["x"] == "<x>"


def test_the_session_is_closed_once_the_program_ended_and_was_read() -> None:
    backend = MockBackend()
    state = run(lambda s: s.append(gen("x")), backend)
    assert not backend.sessions[0].is_closed
    assert state.text() == "<x>"
    assert backend.sessions[0].is_closed


def test_usage_is_of_all_branches() -> None:
    def body(s: State) -> None:
        s += "abc"
        left, right = s.fork(2)
        left += gen("x")
        right += "de"

    usage = run(body, seed=5).usage
    assert (usage.seed, usage.prefilled, usage.sampled) == (5, 5, 3)


def test_many_threads_may_read_one_state() -> None:
    backend = MockBackend()
    names = [f"v{i}" for i in range(40)]

    def body(s: State) -> None:
        for name in names:
            s += gen(name)

    state = run(body, backend)
    seen: list[str] = []
    errors: list[BaseException] = []

    def read(mine: list[str]) -> None:
        try:
            seen.extend(state[name] for name in mine)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read, args=(names[i::8],)) for i in range(8)]
    threads.append(threading.Thread(target=lambda: seen.append(state.text())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not errors
    assert sorted(seen) == sorted([*(f"<{name}>" for name in names), state.text()])


def test_a_runtime_that_goes_away_fails_what_is_pending() -> None:
    backend = MockBackend()

    def body(s: State) -> None:
        s += gen("x")
        backend.sessions[0].close()

    state = run(body, backend)
    with pytest.raises(ProgramError, match="gen 'x' failed: Cancelled"):
        state["x"]
    with pytest.raises(EngineClosed):
        run(lambda s: [backend.sessions[-1].close(), s.append("a")], backend)


def test_repr_is_one_line() -> None:
    assert repr(run(lambda s: s.append(gen("x")))) == "<State <lambda>:0 0/2 ops>"


def test_a_turn_of_none_is_a_forgotten_return() -> None:
    for add in (lambda s: s.user(None), lambda s: s.append(user(None))):
        with pytest.raises(ValueError, match="forget its return"):
            run(add)
    with pytest.raises(InvalidParams, match="a role must be"):
        run(lambda s: s.role("", "text"))
