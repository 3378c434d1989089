from __future__ import annotations

import json
from typing import Any

import pytest

from sestina.lang.errors import ProgramError
from sestina.lang.session import GenMeta
from sestina.lang.variable import Failure, Variable, decode_text


def test_a_variable_is_settled_once() -> None:
    variable = Variable("x")
    assert not variable.done
    variable.resolve("a", (GenMeta("stop"),))
    variable.resolve("b")
    variable.fail(Failure(ValueError(), "gen 'x'", None))
    assert variable.done
    assert variable.value() == "a"
    assert variable.failure() is None


def test_a_failure_is_raised_with_its_cause_to_every_reader_anew() -> None:
    cause = ValueError("no")
    variable = Variable("x")
    variable.fail(Failure(cause, "gen 'x'", "program.py:3"))
    errors = []
    for _ in range(2):
        with pytest.raises(
            ProgramError, match=r"gen 'x' failed: ValueError: no\n  at program.py:3"
        ) as e:
            variable.value()
        errors.append(e.value)
    assert errors[0] is not errors[1]
    assert errors[0].cause is errors[0].__cause__ is cause


def test_decode_runs_once_and_only_when_read() -> None:
    calls = []

    def decode(raw: str) -> int:
        calls.append(raw)
        return int(raw)

    variable = Variable("x", decode=decode)
    variable.resolve("7")
    assert calls == []
    assert [variable.value(), variable.value()] == [7, 7]
    assert calls == ["7"]


def test_a_text_that_does_not_decode_fails_where_the_gen_was_written() -> None:
    variable = Variable("x", decode=int, source=("gen 'x'", "program.py:3"))
    variable.resolve("seven")
    with pytest.raises(ProgramError, match=r"program\.py:3") as raised:
        variable.value()
    assert isinstance(raised.value.cause, ValueError)
    assert variable.op_failure is not None


def test_decode_text_maps_over_the_list_of_several_continuations() -> None:
    decode = decode_text(int)
    assert decode is not None
    assert decode("3") == 3
    assert decode(["3", "4"]) == [3, 4]
    assert decode_text(None) is None


@pytest.mark.parametrize("reason", ["length", "stop"])
def test_a_value_that_was_cut_off_says_so(reason: Any) -> None:
    variable = Variable("x", decode=json.loads)
    variable.resolve("[1", (GenMeta(reason),))
    with pytest.raises(ProgramError) as caught:
        variable.value()
    assert ("cut off by max_tokens" in str(caught.value)) == (reason == "length")
