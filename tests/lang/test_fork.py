from __future__ import annotations

import contextlib
from typing import Any

import pytest

from sestina.lang.api import function, gen, user, user_begin, var
from sestina.lang.clients.mock import MockBackend
from sestina.lang.errors import InvalidParams, ProgramError
from sestina.lang.ir import Fork, Join, Release
from sestina.lang.state import State


def run(body: Any, backend: MockBackend | None = None) -> State:
    return function(body).run(backend=backend or MockBackend())


def test_fork_and_join_are_submitted_without_waiting() -> None:
    backend = MockBackend()

    def body(s: State) -> None:
        s += "p"
        forks = s.fork(2)
        forks += lambda i: f"{i}" + gen("x")
        forks.join()
        s += var("x")
        assert not backend.sessions[0]._branches["0"].answered

    run(body, backend)
    assert backend.ops()[1:3] == [Fork(("0.0", "0.1")), Join(("0.0", "0.1"))]
    assert backend.ops("0.1")[-1] == Release()


def test_children_inherit_text_variables_and_the_open_role() -> None:
    def body(s: State) -> State:
        s += "p" + gen("x") + user_begin()
        child = s.fork(1)[0]
        assert child["x"] == "<x>"
        child += "c"
        with pytest.raises(ProgramError, match="begins inside role 'user'"):
            child += user("nested")
        s += "parent only"
        return child

    child = run(body).ret_value
    assert child.text() == "p<x><|im_start|>user\nc"
    assert child.messages() == [{"role": "user", "content": "c"}]
    assert "".join(child.text_iter()) == child.text()
    assert "".join(child.text_iter("x")) == "<x>"


def test_text_of_a_child_without_ops_waits_for_the_fork() -> None:
    def body(s: State) -> None:
        s += "p" + gen("x")
        (child,) = s.fork()
        assert child.text() == "p<x>"

    run(body)


def test_a_second_fork_goes_on_counting_and_grandchildren_nest() -> None:
    backend = MockBackend()

    def body(s: State) -> None:
        s.fork(2)
        third = s.fork(1)[0]
        third.fork(1)

    run(body, backend)
    assert sorted(backend.sessions[0].submitted) == ["0", "0.0", "0.1", "0.2", "0.2.0"]


def test_appending_to_a_group() -> None:
    def body(s: State) -> list[State]:
        forks = s.fork(3)
        forks += "same"
        forks += gen("x")
        forks += [1 * "a", 2 * "a", 3 * "a"]
        forks += lambda i: str(i)
        forks[1] += "!"
        for child in forks:
            child += "."
        assert len(forks) == 3
        assert forks[-1] is list(forks)[2]
        assert forks[:2] == list(forks)[:2]
        return list(forks)

    states = run(body).ret_value
    assert [s.text() for s in states] == [
        "same<x>a0.",
        "same<x>aa1!.",
        "same<x>aaa2.",
    ]


def test_misuse_of_a_group_is_refused() -> None:
    def body(s: State) -> None:
        forks = s.fork(2)
        with pytest.raises(ValueError, match="3 parts for 2 branches"):
            forks += ["a", "b", "c"]
        with pytest.raises(ValueError, match="None"):
            forks += None
        with pytest.raises(TypeError, match="cannot be replaced"):
            forks[0] = forks[1]
        with pytest.raises(InvalidParams, match="concate_and_append"):
            forks.join("gather")  # type: ignore[arg-type]
        for size in (0, -1, True, 1.5):
            with pytest.raises(ValueError, match="at least 1"):
                s.fork(size)  # type: ignore[arg-type]

    run(body)


def test_join_gathers_aligned_lists_of_typed_values_and_replaces_older_ones() -> None:
    """SGLang ignores names the parent already has, and lets lists of different branches slip."""

    def body(s: State) -> None:
        for turn in range(2):
            with s.fork(3) as forks:
                for i, child in enumerate(forks):
                    if i != 1:
                        child += gen("n", dtype=int)
                    child[f"only {turn}"] = (turn, i)
            assert s["n"] == [turn, None, turn]

    turns = iter("0011")
    state = run(body, MockBackend(lambda call: next(turns)))
    assert state["only 0"] == [(0, 0), (0, 1), (0, 2)]
    assert state["n"] == [1, None, 1]


def test_inherited_variables_are_not_gathered() -> None:
    def body(s: State) -> None:
        s += gen("x")
        s.fork(2).join()

    assert run(body)["x"] == "<x>"


def test_concate_and_append() -> None:
    def body(s: State) -> None:
        s += "p"
        forks = s.fork(2)
        forks += lambda i: f"[{i}" + gen("x") + "]"
        forks.join("concate_and_append")
        forks.join("concate_and_append")
        s += "!"

    state = run(body)
    assert state.text() == "p[0<x>][1<x>]!"
    assert "x" not in state


def test_a_failed_child_fails_the_join_with_its_cause_and_not_its_siblings() -> None:
    backend = MockBackend(
        lambda call: "fine" if call.branch == "0.0" else 1 // 0  # type: ignore[return-value]
    )

    def body(s: State) -> tuple[State, ...]:
        forks = s.fork(2)
        forks += gen("x")
        forks.join()
        return tuple(forks)

    state = run(body, backend)
    left, right = state.ret_value
    assert left["x"] == "fine"
    assert left.error() is None
    for read in (lambda: state["x"], lambda: right["x"], state.text):
        with pytest.raises(ProgramError, match="ZeroDivisionError"):
            read()
    assert isinstance(state.error(), ProgramError)


def test_children_of_a_failed_parent_fail_with_its_cause() -> None:
    def body(s: State) -> State:
        s += gen("x")
        child = s.fork(1)[0]
        child += gen("y")
        return child

    child = run(body, MockBackend({"x": ValueError("broken")})).ret_value
    with pytest.raises(ProgramError, match=r"gen 'x' failed: .*broken"):
        child["y"]
    with pytest.raises(ProgramError, match="gen 'x' failed"):
        child.text()


def test_a_value_of_a_child_that_does_not_parse_is_reported_at_its_gen() -> None:
    def body(s: State) -> None:
        forks = s.fork(2)
        forks += gen("x", dtype=int)
        forks.join()

    state = run(body, MockBackend({"x": "seven"}))
    with pytest.raises(ProgramError, match="gen 'x' failed: ValueError"):
        state["x"]


def test_nothing_can_be_added_to_a_joined_branch() -> None:
    def body(s: State) -> None:
        forks = s.fork(1)
        forks.join()
        with pytest.raises(ProgramError, match="this branch was joined"):
            forks += "late"

    run(body)


def test_copy_is_a_branch_of_its_own() -> None:
    def body(s: State) -> str:
        s += "p"
        with s.copy() as other:
            other += "c" + gen("x")
        with pytest.raises(ProgramError, match="was closed"):
            other += "late"
        s += "q"
        return other.text()

    state = run(body)
    assert state.ret_value == "pc<x>"
    assert state.text() == "pq"


def test_a_group_scope_that_raises_cancels_its_branches() -> None:
    backend = MockBackend()

    def body(s: State) -> None:
        with contextlib.suppress(ZeroDivisionError), s.fork(2) as forks:
            forks += gen("x")
            _ = 1 / 0
        with pytest.raises(ProgramError, match="Cancelled"):
            forks[0]["x"]
        s += "on"

    state = run(body, backend)
    assert state.text() == "on"
    assert not any(isinstance(op, Join) for op in backend.ops())


def test_cancelling_one_branch_leaves_the_others() -> None:
    def body(s: State) -> tuple[State, ...]:
        forks = s.fork(2)
        forks += gen("x")
        forks[0].cancel()
        return tuple(forks)

    left, right = run(body).ret_value
    assert isinstance(left.error(), ProgramError)
    assert right["x"] == "<x>"
