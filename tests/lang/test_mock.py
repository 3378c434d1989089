from __future__ import annotations

import pytest

from sestina.lang.api import function, gen, select
from sestina.lang.clients.mock import MockBackend, MockCall
from sestina.lang.errors import EngineClosed, InvalidParams, ModelError, ProgramError
from sestina.lang.ir import Ids, Release, Text
from sestina.lang.session import ROOT, Done, SessionOptions
from sestina.lang.state import State


@function
def two(s: State) -> None:
    s += "Q: " + gen("x") + select("c", ["no", "yes"])


def test_without_responses_it_names_the_variable_and_takes_the_first_option() -> None:
    assert two.run(backend=MockBackend()).text() == "Q: <x>no"


def test_responses_by_name_by_function_and_in_order() -> None:
    calls: list[MockCall] = []

    def answer(call: MockCall) -> str:
        calls.append(call)
        return "yes"

    for responses in ({"x": "1", "c": answer}, ["1", answer], ["1", "yes"]):
        assert two.run(backend=MockBackend(responses)).text() == "Q: 1yes"  # type: ignore[arg-type]
    assert two.run(backend=MockBackend(answer)).text() == "Q: yesyes"
    assert [(c.name, c.number, c.text) for c in calls[-2:]] == [("x", 1, "Q: "), ("c", 2, "Q: yes")]


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        ({}, "no response for 'x'"),
        (["1"], "no response left for 'c'"),
        ({"x": "1", "c": "maybe"}, "'maybe' is not among"),
        ({"x": ModelError("asked for")}, "asked for"),
    ],
)
def test_a_missing_or_impossible_response_fails_the_op(
    responses: dict[str, str] | list[str], message: str
) -> None:
    error = two.run(backend=MockBackend(responses)).error()
    assert isinstance(error, ProgramError)
    assert message in str(error)


def test_failures_on_demand() -> None:
    cause = OSError("plug pulled")
    state = two.run(backend=MockBackend(failures={("0", 2): cause}))
    assert state["x"] == "<x>"
    with pytest.raises(ProgramError, match="plug pulled") as raised:
        state["c"]
    assert raised.value.cause.__cause__ is cause


def test_it_records_what_was_submitted() -> None:
    backend = MockBackend()
    two.run(backend=backend)
    two.run(backend=backend)
    assert backend.ops(session=0) == backend.ops()
    assert backend.ops()[0] == Text(("Q: ",))
    assert backend.ops()[-1] == Release()
    assert backend.ops("0.7") == []


def test_ids_are_code_points_and_unknown_branches_are_refused() -> None:
    session = MockBackend().open(SessionOptions())
    session.submit(ROOT, [Ids((72, 105))])
    events = session.events()
    assert [next(events).text, type(next(events))] == ["Hi", Done]  # type: ignore[union-attr]
    with pytest.raises(InvalidParams, match="never announced"):
        session.submit("0.0", [Text(("a",))])
    session.close()
    with pytest.raises(EngineClosed):
        session.submit(ROOT, [Text(("a",))])
