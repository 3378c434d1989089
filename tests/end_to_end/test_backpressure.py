"""A reader that does not read costs a bounded amount of memory, and nobody else's time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.engines import scripted_engine
from support.sessions import answers, drain, outcomes, text, values

from sestina import Cancelled, Engine, SamplingParams
from sestina.lang.ir import Fork, Gen, Join, Op, Release, Text
from sestina.lang.session import ROOT, Done, Failed, Session, SessionOptions

BOUND = 32
START = Text(("Q: ",))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with scripted_engine(num_merges=0, max_unread=BOUND) as engine:
        yield engine
        stats = engine.stats()
        assert stats.held_slots == 0


def streamed(name: str = "x", max_tokens: int = 100, **params: Any) -> Gen:
    options = {"max_tokens": max_tokens, "ignore_eos": True, **params}
    return Gen(name, SamplingParams.of(options), stream=True)


def opened(engine: Engine, *ops: Op) -> Session:
    session = engine.open(SessionOptions(seed=1))
    session.submit(ROOT, ops)
    return session


def until_idle(engine: Engine) -> None:
    """Until there is nothing in the batch or in the queue."""
    while (stats := engine.stats()).num_running or stats.num_waiting:
        pass


def num_unread(session: Any) -> int:
    return len(session._events._events)


def test_a_generation_that_nobody_reads_leaves_the_batch(engine: Engine) -> None:
    session = opened(engine, START, streamed(), Release())
    until_idle(engine)
    assert BOUND <= num_unread(session) <= BOUND + 3
    assert engine.stats().sampled == 0  # it has not ended
    assert engine.generate("others go on", max_tokens=60, ignore_eos=True).meta.sampled == 60
    assert num_unread(session) <= BOUND + 3
    events = drain(session, 1)
    assert outcomes(events) == [Done] * 3


def test_what_was_held_up_is_the_same_as_what_was_not(engine: Engine) -> None:
    ops = (START, streamed(), Text(("|",)), streamed("y", 50, n=2), Release())
    session = opened(engine, *ops)
    until_idle(engine)
    slow = drain(session, 1)
    fast = drain(opened(engine, *ops), 1)
    assert values(slow) == values(fast)
    assert text(slow) == text(fast)
    metas = [
        [m.ids for a in answers(e) if isinstance(a, Done) for m in a.meta] for e in (slow, fast)
    ]
    assert metas[0] == metas[1]


def test_ops_that_nobody_reads_the_answers_of_wait(engine: Engine) -> None:
    session = opened(engine, *[Text(("a",))] * 500, Release())
    engine.stats()
    assert num_unread(session) <= BOUND + 1
    events = drain(session, 1)
    assert outcomes(events) == [Done] * 501
    assert text(events) == "a" * 500


def test_branches_pause_and_go_on_together(engine: Engine) -> None:
    children = tuple(f"0.{i}" for i in range(5))
    session = opened(engine, START, Fork(children), Join(children), Release())
    for child in children:
        session.submit(child, [streamed(max_tokens=25), Text(("!",)), Release()])
    until_idle(engine)
    assert num_unread(session) <= BOUND + 2 * len(children)
    events = drain(session, 6)
    assert outcomes(events) == [Done] * 4
    assert all(outcomes(events, child) == [Done] * 3 for child in children)


def test_a_program_that_is_held_up_can_be_cancelled_and_closed(engine: Engine) -> None:
    for end in ("cancel", "close"):
        session = opened(engine, START, streamed(), Release())
        until_idle(engine)
        getattr(session, end)()
        engine.stats()
        session.close()
        last = answers(session.events())[1:]
        assert [type(a) for a in last] == [Failed, Failed]
        assert all(isinstance(a.error, Cancelled) for a in last if isinstance(a, Failed))
