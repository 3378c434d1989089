"""Ops, events and errors cross to another process and come out equal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

import sestina
from sestina.backend.options import EngineOptions
from sestina.backend.process import errors, messages
from sestina.lang import errors as ours
from sestina.lang import ir
from sestina.lang.params import SamplingParams
from sestina.lang.session import (
    ChoiceScore,
    Chunk,
    Done,
    Ended,
    Event,
    Failed,
    GenMeta,
    SessionOptions,
    TokenLogprob,
    Usage,
)

PARAMS = SamplingParams(
    max_tokens=3, stop="\n", logit_bias={5: -1.5}, seed=2**64 - 1, stop_token_ids=[1], top_p=0.5
)
CONSTRAINT = (sestina.regex("a+") | sestina.choices(["b"])) & ~sestina.regex("aa")
OPS: list[ir.Op] = [
    ir.Text(("é\n", ir.Var("x"))),
    ir.Ids((0, 7)),
    ir.Gen("x", PARAMS, CONSTRAINT, stream=True),
    ir.Gen(None),
    ir.Select(None, ("yes", "no"), "greedy_token_selection"),
    ir.RoleBegin("user"),
    ir.RoleEnd("user"),
    ir.Fork(("0.0", "0.1")),
    ir.Join(("0.0",), "concate_and_append"),
    ir.CaptureBegin("span"),
    ir.CaptureEnd("span"),
    ir.SetVar("x", "y"),
    ir.Release(),
]
LOGPROB = TokenLogprob(3, -math.inf, "t", ((1, -0.5, None), (2, -1.0, "u")))
META = GenMeta(
    "stop",
    matched=4,
    seed=2**63,
    ids=(1, 2),
    logprobs=(LOGPROB,),
    prompt_logprobs=(TokenLogprob(1, None),),
    choices=(ChoiceScore("yes", -0.5, -1.0, 1.0, (-0.5, -0.5), (-1.0,)),),
    label_mass=0.5,
)
EVENTS: list[Event] = [
    Chunk("0", 1, None, "text", (1,), (LOGPROB,)),
    Done("0.1", 2, "x", "value", (META,)),
    Done("0", 2, "x", ["a", "b"], (META, META)),
    Done("0", 3, None, {"x": ["a", None]}),
    Done("0", 4, None, None),
    Ended("0", Usage(2**63, 1, 2, 3, 4, 5, 6, 7, 8, 0.5)),
]


def crossed(message: Any, decode: Callable[[bytes], Any]) -> Any:
    again = decode(messages.encode(message))
    assert type(again) is type(message)
    return again


def test_every_op_crosses() -> None:
    assert {type(op) for op in OPS} == set(get_args(ir.Op))
    submit = messages.Submit(1, "0", messages.ops_to_data(OPS))
    again = crossed(submit, messages.decode_command)
    assert (again.session, again.branch) == (1, "0")
    assert messages.ops_from_data(again.ops) == OPS


def test_every_event_crosses() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event)) - {Failed}
    sent = messages.Events((*((7, messages.event_to_data(e)) for e in EVENTS), (8, None)))
    again = crossed(sent, messages.decode_report).events
    assert [number for number, _ in again] == [7] * len(EVENTS) + [8]
    assert [messages.event_from_data(data) for _, data in again[:-1]] == EVENTS
    assert again[-1][1] is None


def test_options_cross() -> None:
    options = SessionOptions(-5, "name", PARAMS, 3)
    assert crossed(messages.Open(1, options, 5), messages.decode_command).options == options
    engine = EngineOptions(dtype="float32", trace=5, policy="fcfs")
    assert crossed(messages.Start("m", engine), messages.decode_command).options == engine


def of_every_class() -> list[ours.SestinaError]:
    made: list[ours.SestinaError] = []
    for kind in vars(ours).values():
        if not (isinstance(kind, type) and issubclass(kind, ours.SestinaError)):
            continue
        if issubclass(kind, ours.ConstraintError):
            made += [kind("bad", pointer="/a", keyword="k"), kind("bad", source="a(b", position=1)]
        elif kind is ours.UnsupportedNode:
            made.append(ours.UnsupportedNode("client", "Node"))
        elif kind is ours.ProgramError:
            made.append(ours.ProgramError(ValueError("v"), op="gen 'x'", location="file:1"))
        else:
            made.append(kind("what happened"))
    return made


@pytest.mark.parametrize("error", of_every_class(), ids=lambda error: type(error).__name__)
def test_an_error_keeps_class_message_and_fields(error: ours.SestinaError) -> None:
    failed = Failed("0", 3, error)
    sent = messages.Events(((1, messages.event_to_data(failed)),))
    again: Any = messages.event_from_data(crossed(sent, messages.decode_report).events[0][1])
    assert type(again.error) is type(error)
    assert str(again.error) == str(error)
    names = set(vars(error)) - {"cause", "__notes__"}
    assert {n: getattr(again.error, n) for n in names} == {n: getattr(error, n) for n in names}


def raised(error: BaseException, cause: BaseException | None = None) -> Any:
    try:
        raise error from cause
    except BaseException as caught:
        return errors.from_data(errors.to_data(caught))


def test_causes_come_along() -> None:
    foreign = type("FromElsewhere", (Exception,), {})("far")
    foreign.__cause__ = KeyError("key")
    again = raised(ours.InternalError("broken"), foreign)
    assert type(again) is ours.InternalError
    assert type(again.__cause__) is RuntimeError
    assert str(again.__cause__) == "FromElsewhere: far"
    assert type(again.__cause__.__cause__) is KeyError
    assert again.__cause__.__cause__.args == ("key",)


def test_an_endless_chain_of_causes_is_cut() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    depth, again = 0, errors.from_data(errors.to_data(first))
    while again is not None:
        depth, again = depth + 1, again.__cause__  # type: ignore[assignment]
    assert depth == errors.MAX_CAUSES + 1


def test_exceptions_that_want_more_than_a_message_keep_their_words() -> None:
    try:
        "\ud800".encode()
    except UnicodeEncodeError as error:
        again = errors.from_data(errors.to_data(error))
    assert type(again) is RuntimeError
    assert str(again).startswith("UnicodeEncodeError: 'utf-8' codec")


@pytest.mark.parametrize("op", [ir.Text(("\ud800",)), ir.Ids((2**70,)), ir.SetVar("x", object())])  # type: ignore[arg-type]
def test_what_is_no_data_is_refused_where_it_is_sent(op: ir.Op) -> None:
    with pytest.raises(ours.InvalidParams, match="cannot be sent"):
        messages.encode(messages.Submit(1, "0", messages.ops_to_data([op])))


def test_what_is_no_op_is_refused() -> None:
    with pytest.raises(ours.UnsupportedNode, match="int"):
        messages.ops_to_data([5])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "op",
    [
        ["Gen", "x", {"max_tokens": -1}, None, False],
        ["Gen", "x", {}, 5, False],
        ["SetVar", "x", 5],
        ["Exec", "import os"],
        ["Text"],
    ],
)
def test_a_frame_that_does_not_fit_is_refused(op: list[Any]) -> None:
    frame = msgspec.msgpack.encode(["Submit", 3, "0", [op]])
    with pytest.raises(msgspec.ValidationError):
        messages.decode_command(frame)
    assert messages.session_of(frame) == 3


def test_a_constraint_is_checked_as_if_the_user_had_written_it() -> None:
    data = ["Gen", "x", {}, {"kind": "regex", "pattern": "a("}, False]
    command: Any = messages.decode_command(msgspec.msgpack.encode(["Submit", 3, "0", [data]]))
    with pytest.raises(ours.InvalidConstraint):
        messages.ops_from_data(command.ops)
