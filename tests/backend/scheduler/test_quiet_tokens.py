"""Tokens that nobody has to be told of are appended for all rows at once, as one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engines import scripted_engine
from support.sessions import drain, text

from sestina import Engine, SamplingParams
from sestina.backend.scheduler.sequence import Sequence
from sestina.lang.ir import Gen, Release, Text
from sestina.lang.session import ROOT, Done, Ended, Event, SessionOptions

VOCAB_SIZE = 321


def run(engine: Engine, gens: list[dict[str, Any]], stream: bool) -> list[list[Event]]:
    sessions = [engine.open(SessionOptions(seed=i)) for i in range(len(gens))]
    for i, (session, params) in enumerate(zip(sessions, gens, strict=True)):
        gen = Gen("x", SamplingParams.of(params), stream=stream)
        session.submit(ROOT, [Text((f"{i % 2} is",)), gen, Release()])
    return [drain(session, 1) for session in sessions]


def told(events: list[Event]) -> tuple[object, ...]:
    """All but what was found cached and how the text was cut, which depend on the company."""
    usage = next(e.usage for e in events if isinstance(e, Ended))
    metas = [
        replace(m, prefilled=0, cached=0) for e in events if isinstance(e, Done) for m in e.meta
    ]
    return metas, usage.sampled, usage.prefilled + usage.cached, text(events)


gens = st.fixed_dictionaries(
    {"max_tokens": st.integers(6, 14), "temperature": st.sampled_from([0.0, 1.0])},
    optional={
        "ignore_eos": st.booleans(),
        "stop_token_ids": st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=12).map(tuple),
        "min_tokens": st.integers(0, 6),
        "n": st.just(2),
        "frequency_penalty": st.just(1.5),
        "top_k": st.just(3),
        "stop": st.lists(
            st.sampled_from(["e", "in", "\x80", "é", "\ufffd", "\ufffdb", "日本"]),
            min_size=1,
            max_size=3,
        ).map(tuple),
    },
)


@settings(max_examples=15, deadline=None)
@given(
    some=st.lists(gens, min_size=1, max_size=6),
    max_running=st.sampled_from([2, 8]),
    max_total_tokens=st.sampled_from([40, 500]),
)
def test_a_gen_that_is_not_watched_writes_what_it_does_when_watched(
    some: list[dict[str, Any]], max_running: int, max_total_tokens: int
) -> None:
    sizes = {"max_running": max_running, "max_total_tokens": max_total_tokens}
    with scripted_engine(**sizes) as engine:
        watched = run(engine, some, stream=True)
    with scripted_engine(**sizes) as engine:
        unwatched = run(engine, some, stream=False)
    assert [told(events) for events in unwatched] == [told(events) for events in watched]


def test_a_cancelled_gen_counts_what_it_wrote_unwatched() -> None:
    """Its tokens and passes are booked, though it was never told of a token."""
    tokens = 0
    engine = scripted_engine(max_total_tokens=4096)
    scheduler = engine._core.scheduler
    steps = scheduler.step

    def step_and_cancel() -> bool:
        nonlocal tokens
        done = steps()
        if scheduler.running and scheduler.num_steps == 9:
            tokens = len(scheduler.running[0])
            session.cancel()
        return done

    with engine, pytest.MonkeyPatch.context() as patch:
        session = engine.open(SessionOptions(seed=0))
        patch.setattr(scheduler, "step", step_and_cancel)
        gen = Gen("x", SamplingParams(max_tokens=100, ignore_eos=True), stream=False)
        session.submit(ROOT, [Text(("abc",)), gen, Release()])
        usage = next(e.usage for e in drain(session, 1) if isinstance(e, Ended))
    assert usage.forward_passes == 9
    assert usage.sampled == 9
    assert usage.prefilled + usage.sampled == tokens


def test_a_sequence_that_outgrows_its_row_comes_back_into_it() -> None:
    memory = np.zeros((2, 4), np.int32)
    lens = np.zeros(2, np.int64)
    sequence = Sequence("")
    sequence.append([1, 2], is_text=True)
    sequence.move(memory[1], lens[1:])
    sequence.append([3], is_text=False)
    assert memory.tolist() == [[0] * 4, [1, 2, 3, 0]]
    assert sequence.lies_in(memory)
    sequence.append([4, 5], is_text=True)
    assert not sequence.lies_in(memory)
    sequence.truncate(4)
    assert lens.tolist() == [0, 3]
    assert [sequence.num_text(a, 4) for a in range(5)] == [3, 2, 1, 1, 0]
    sequence.move(memory[0], lens[:1])
    assert memory[0].tolist() == sequence.tokens.tolist() == [1, 2, 3, 4]
    assert sequence.branch_off().num_text(0, 4) == 3
