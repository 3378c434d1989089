"""What every implementation of `sestina.lang.session` must do, whatever the model answers.

A backend joins by a factory in FACTORIES; one that is slow to start, by SHARED. The tests assume
nothing about the generated text; they ask for few tokens, so that a real model is quick.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
from support.engines import scripted_engine, worker_engine
from support.sessions import answers, drain, events_of, gen, text, unresolvable, values

from sestina.backend.engine import Engine
from sestina.lang.choices import pick
from sestina.lang.clients.mock import MockBackend
from sestina.lang.errors import Cancelled
from sestina.lang.ir import (
    CaptureBegin,
    CaptureEnd,
    Fork,
    Gen,
    Join,
    Release,
    Select,
    SetVar,
    Text,
    Var,
)
from sestina.lang.params import SamplingParams
from sestina.lang.session import (
    ROOT,
    Backend,
    Chunk,
    Done,
    Ended,
    Event,
    Failed,
    SessionOptions,
)

FACTORIES: Mapping[str, Callable[[], Backend]] = {"engine": scripted_engine, "mock": MockBackend}
SHARED = ("process_engine",)


@pytest.fixture(scope="module")
def process_engine() -> Iterator[Engine]:
    with worker_engine() as engine:
        yield engine


@pytest.fixture(params=[*sorted(FACTORIES), *SHARED])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param in SHARED:
        yield request.getfixturevalue(request.param)
        return
    made = FACTORIES[request.param]()
    yield made
    close = getattr(made, "close", None)
    if close is not None:
        close()


def test_every_op_is_answered_once_in_order_and_the_branch_ends_last(backend: Backend) -> None:
    ops = [Text(("Hello",)), gen("x"), Text((" and ",)), gen(None), Release()]
    events = events_of(backend, (ROOT, ops))
    assert [(type(a), a.op) for a in answers(events)] == [(Done, n) for n in range(len(ops))]
    assert isinstance(events[-1], Ended)
    assert events[-1].usage.seed == 1


@pytest.mark.parametrize("stream", [False, True])
def test_chunks_are_the_text_and_a_value_is_the_text_of_its_op(
    backend: Backend, stream: bool
) -> None:
    ops = [Text(("é: ",)), gen("x", stream=stream), Text(("|", Var("x"), "|")), Release()]
    events = events_of(backend, (ROOT, ops))
    x = values(events)["x"]
    assert isinstance(x, str)
    assert text(events) == f"é: {x}|{x}|"
    of_gen = [e for e in events if isinstance(e, Chunk) and e.op == 1]
    assert "".join(e.text for e in of_gen) == x
    assert {e.name for e in of_gen} <= {"x"}


def test_no_chunk_comes_after_the_answer_to_its_op(backend: Backend) -> None:
    events = events_of(backend, (ROOT, [Text(("a",)), gen("x", stream=True), Release()]))
    answered = -1
    for event in events:
        if isinstance(event, Chunk):
            assert event.op == answered + 1
        elif isinstance(event, Done):
            answered = event.op


def test_n_continuations_are_a_list_and_the_text_goes_on_with_the_first(backend: Backend) -> None:
    events = events_of(backend, (ROOT, [Text(("a",)), gen("x", n=3), Release()]))
    x = values(events)["x"]
    assert isinstance(x, list)
    assert len(x) == 3
    assert text(events) == "a" + x[0]
    done = answers(events)[1]
    assert isinstance(done, Done)
    assert len(done.meta) == 3


def test_captures_and_set_variables(backend: Backend) -> None:
    ops = [
        SetVar("name", "Ada"),
        CaptureBegin("span"),
        Text(("Dear ", Var("name"))),
        gen("x"),
        CaptureEnd("span"),
        Text(("/", Var("span"))),
        Release(),
    ]
    events = events_of(backend, (ROOT, ops))
    span = values(events)["span"]
    assert span == f"Dear Ada{values(events)['x']}"
    assert text(events) == f"{span}/{span}"


@pytest.mark.parametrize(
    "method",
    [
        "token_length_normalized",
        "greedy_token_selection",
        "unconditional_likelihood_normalized",
    ],
)
def test_select_gives_the_best_option_and_a_posterior(backend: Backend, method: str) -> None:
    op = Select("x", ("yes", "no", "maybe"), method)  # type: ignore[arg-type]
    events = events_of(backend, (ROOT, [Text(("Well, ",)), op, Release()]))
    done = answers(events)[1]
    assert isinstance(done, Done)
    assert text(events) == f"Well, {done.value}"
    scores = done.meta[0].choices
    assert done.meta[0].finish_reason == "select"
    assert scores is not None
    assert [s.text for s in scores] == ["yes", "no", "maybe"]
    assert scores[pick(scores)].text == done.value
    assert math.isclose(sum(s.probability for s in scores), 1.0, rel_tol=1e-6)


PREFIX = [Text(("p",)), SetVar("x", "old"), Fork(("0.0", "0.1"))]


def test_children_start_from_the_fork_and_a_join_gathers_their_variables(
    backend: Backend,
) -> None:
    events = events_of(
        backend,
        (ROOT, PREFIX),
        ("0.0", [Text(("a", Var("x"))), gen("x"), Release()]),
        ("0.1", [Text(("b",)), gen("y"), gen("x"), Release()]),
        (ROOT, [Join(("0.0", "0.1")), Release()]),
    )
    first, second = values(events, "0.0"), values(events, "0.1")
    assert text(events, "0.0").startswith("aold")
    join = answers(events)[3]
    assert isinstance(join, Done)
    assert join.value == {"x": [first["x"], second["x"]], "y": [None, second["y"]]}
    assert text(events) == "p"


def test_a_join_is_answered_after_everything_on_its_children(backend: Backend) -> None:
    events = events_of(
        backend,
        (ROOT, PREFIX),
        ("0.0", [gen("x"), Release()]),
        ("0.1", [gen("y"), gen("z"), Release()]),
        (ROOT, [Join(("0.0", "0.1")), Release()]),
    )
    done = [e for e in events if isinstance(e, Done)]
    join = next(i for i, e in enumerate(done) if e.branch == ROOT and e.op == len(PREFIX))
    of_children = [i for i, e in enumerate(done) if e.branch != ROOT]
    assert len(of_children) == 5
    assert join > max(of_children)


def test_a_join_does_not_need_its_children_to_be_released(backend: Backend) -> None:
    session = backend.open(SessionOptions())
    session.submit(ROOT, PREFIX)
    session.submit("0.0", [Text(("a",)), gen("x")])
    session.submit(ROOT, [Join(("0.0", "0.1")), Release()])
    events = drain(session, 1)
    assert [type(a) for a in answers(events)] == [Done] * 5


def test_concate_and_append_adds_the_texts_since_the_fork_in_order(backend: Backend) -> None:
    events = events_of(
        backend,
        (ROOT, PREFIX),
        ("0.1", [Text(("two",)), gen("x"), Release()]),
        ("0.0", [Text(("one",)), Release()]),
        (ROOT, [Join(("0.0", "0.1"), "concate_and_append"), Text(("!",)), Release()]),
    )
    assert text(events) == f"pone{text(events, '0.1')}!"


def test_a_child_may_fork_again(backend: Backend) -> None:
    events = events_of(
        backend,
        (ROOT, PREFIX),
        ("0.0", [Text(("a",)), Fork(("0.0.0",))]),
        ("0.0.0", [Text(("b",)), Release()]),
        ("0.0", [Join(("0.0.0",), "concate_and_append"), Release()]),
        ("0.1", [Release()]),
        (ROOT, [Join(("0.0", "0.1"), "concate_and_append"), Release()]),
    )
    assert text(events, "0.0") == "ab"
    assert text(events) == "pab"


def test_after_a_failure_the_rest_of_the_branch_fails_alike_and_no_other(
    backend: Backend,
) -> None:
    events = events_of(
        backend,
        (ROOT, [*PREFIX, gen("x"), Release()]),
        ("0.0", [Text(("a",)), unresolvable(), gen("lost"), Release()]),
        ("0.1", [Text(("b",)), gen("y"), Release()]),
    )
    failed = answers(events, "0.0")
    assert [type(a) for a in failed] == [Done, Failed, Failed, Failed]
    assert len({str(a.error) for a in failed if isinstance(a, Failed)}) == 1
    assert all(isinstance(a, Done) for b in (ROOT, "0.1") for a in answers(events, b))


def test_a_failed_child_fails_the_join_with_its_cause(backend: Backend) -> None:
    events = events_of(
        backend,
        (ROOT, PREFIX),
        ("0.0", [gen("x"), Release()]),
        ("0.1", [unresolvable(), Release()]),
        (ROOT, [Join(("0.0", "0.1")), gen("after"), Release()]),
    )
    assert [type(a) for a in answers(events)] == [Done] * 3 + [Failed] * 3
    child = answers(events, "0.1")[0]
    join = answers(events)[3]
    assert isinstance(child, Failed)
    assert isinstance(join, Failed)
    assert str(child.error) in str(join.error)


def test_a_failed_parent_fails_the_fork_and_the_children_are_answered(backend: Backend) -> None:
    events = events_of(
        backend,
        (ROOT, [unresolvable(), Fork(("0.0",))]),
        ("0.0", [gen("x"), Release()]),
        (ROOT, [Join(("0.0",)), Release()]),
    )
    assert [type(a) for a in answers(events)] == [Failed] * 4
    assert [type(a) for a in answers(events, "0.0")] == [Failed] * 2


def test_ops_submitted_after_a_failure_are_answered(backend: Backend) -> None:
    session = backend.open(SessionOptions())
    session.submit(ROOT, [unresolvable()])
    events = session.events()
    assert isinstance(next(events), Failed)
    session.submit(ROOT, [gen("x"), Release()])
    assert [next(events).branch for _ in range(2)] == [ROOT, ROOT]
    assert isinstance(next(events), Ended)
    session.close()


def test_cancelling_a_branch_answers_its_ops_and_leaves_the_others(backend: Backend) -> None:
    session = backend.open(SessionOptions())
    session.submit(ROOT, [*PREFIX, gen("x"), Release()])
    session.submit("0.0", [gen("lost"), gen("lost too")])  # not released: it waits for more
    session.submit("0.1", [gen("y"), Release()])
    session.cancel("0.0")
    session.cancel("0.0")
    events = drain(session, 3)
    assert all(isinstance(a, Done) for b in (ROOT, "0.1") for a in answers(events, b))
    cancelled = answers(events, "0.0")
    assert [a.op for a in cancelled] == [0, 1]
    assert all(isinstance(a.error, Cancelled) for a in cancelled if isinstance(a, Failed))
    assert sum(isinstance(e, Ended) and e.branch == "0.0" for e in events) == 1


def test_cancelling_everything_ends_every_branch(backend: Backend) -> None:
    session = backend.open(SessionOptions())
    session.submit(ROOT, [Fork(("0.0",)), gen("x"), Join(("0.0",))])
    session.submit("0.0", [gen("y")])
    session.cancel()
    events = drain(session, 2)
    assert {len(answers(events)), len(answers(events, "0.0"))} == {3, 1}


def test_ops_submitted_to_a_cancelled_branch_are_answered(backend: Backend) -> None:
    session = backend.open(SessionOptions())
    session.submit(ROOT, [Fork(("0.0",))])
    session.cancel("0.0")
    session.submit("0.0", [gen("x")])
    session.submit(ROOT, [Release()])
    events = drain(session, 2)
    session.close()
    late = answers(events, "0.0") or answers(session.events(), "0.0")
    assert [type(a) for a in late] == [Failed]


def test_closing_cancels_what_is_left_and_ends_the_events(backend: Backend) -> None:
    session = backend.open(SessionOptions())
    session.submit(ROOT, [Text(("a",)), gen("x")])
    session.close()
    session.close()
    events = list(session.events())
    assert [a.op for a in answers(events)] == [0, 1]
    assert isinstance(events[-1], Ended)


def test_the_same_seed_gives_the_same_values(backend: Backend) -> None:
    ops = [Text(("Once",)), gen("x"), gen("y", n=2), Release()]
    runs = [
        values(events_of(backend, (ROOT, ops), options=SessionOptions(seed=7))) for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_defaults_of_the_session_apply_where_a_gen_is_silent(backend: Backend) -> None:
    defaults = SamplingParams(max_tokens=3, n=2)
    options = SessionOptions(seed=1, defaults=defaults)
    events = events_of(backend, (ROOT, [Text(("a",)), Gen("x"), Release()]), options=options)
    x = values(events)["x"]
    assert isinstance(x, list)
    assert len(x) == 2


def test_branches_may_be_fed_from_several_threads(backend: Backend) -> None:
    session = backend.open(SessionOptions())
    children = tuple(f"0.{i}" for i in range(4))
    session.submit(ROOT, [Fork(children)])

    def feed(branch: str) -> None:
        for k in range(5):
            session.submit(branch, [Text((f"{k}",))])
        session.submit(branch, [Release()])

    threads = [threading.Thread(target=feed, args=(child,)) for child in children]
    for thread in threads:
        thread.start()
    session.submit(ROOT, [Join(children), Release()])
    events = drain(session, 5)
    for thread in threads:
        thread.join()
    assert {text(events, child) for child in children} == {"01234"}


def test_async_events_are_the_same_events(backend: Backend) -> None:
    async def collect() -> list[Event]:
        session = backend.open(SessionOptions(seed=1))
        session.submit(ROOT, [Text(("a",)), gen("x"), Release()])
        events = []
        async for event in session.aevents():
            events.append(event)
            if isinstance(event, Ended):
                session.close()
        return events

    ops = [Text(("a",)), gen("x"), Release()]
    expected = events_of(backend, (ROOT, ops))
    events = asyncio.run(collect())
    assert values(events) == values(expected)
    assert text(events) == text(expected)
    assert [a.op for a in answers(events)] == [0, 1, 2]


def test_a_cancelled_wait_and_a_change_of_reader_lose_no_event(backend: Backend) -> None:
    session = backend.open(SessionOptions())

    async def give_up() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(session.aevents()), timeout=0.01)

    asyncio.run(give_up())
    session.submit(ROOT, [Text(("a",)), Text(("b",)), Release()])

    async def first() -> Event:
        events = session.aevents()
        event = await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        return event

    events = [asyncio.run(first()), *drain(session, 1)]
    assert text(events) == "ab"
    assert [a.op for a in answers(events)] == [0, 1, 2]
