"""In float32 on the CPU the same program and seed give the same bits, whatever else goes on.

Tokens and log-probabilities are compared with `==`. The scripted model tells whether scheduling,
sampling and scoring keep to that, the tiny one whether a real model's arithmetic does.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from support.engines import scripted_engine, tiny_engine

from sestina import Engine, assistant, function, gen, select, user
from sestina.lang.program import Program
from sestina.lang.state import State

RULES = "Rule: read the text, then answer in the form that is asked for. "
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "ok": {"type": "boolean"}},
    "required": ["name", "ok"],
    "additionalProperties": False,
}
WATCHED = {"return_logprob": True, "top_logprobs_num": 2}


@function
def extract(s: State, i: int) -> None:
    s += RULES + f"Document {i}.\n" + gen("x", json_schema=SCHEMA, max_tokens=40, **WATCHED)


@function
def choose(s: State, i: int) -> None:
    s += RULES + f"Question {i}:" + select("x", ["yes", "no", "maybe so", "not at all"])
    s += " because" + gen("y", max_tokens=6, temperature=1.0, logprob_start_len=0, **WATCHED)


@function
def branch_and_join(s: State, i: int) -> None:
    s += RULES + f"Topic {i}."
    forks = s.fork(3)
    for k, fork in enumerate(forks):
        fork += f" Side {k}:" + gen("x", max_tokens=8 + k, temperature=0.7, **WATCHED)
    forks.join("concate_and_append")
    s += " In sum:" + gen("y", max_tokens=8, n=2, temperature=1.0, ignore_eos=True, **WATCHED)


@function
def agent(s: State, i: int) -> None:
    s += user(RULES + f"Task {i}.")
    for turn in range(3):
        call = gen(f"x{turn}", regex=r"(look|open|read)\([a-z]{1,5}\)", max_tokens=20, **WATCHED)
        s += assistant(call)
        # Reading the value makes the program come back to Python, and its branch leave the batch.
        s += user("Observation: " + s[f"x{turn}"].upper())
    s += assistant(gen("y", max_tokens=6, **WATCHED))


@function
def plain(s: State, i: int) -> None:
    s += f"{i}. Once upon a time" + gen("x", max_tokens=60, ignore_eos=True, **WATCHED)
    s += gen(
        "y", max_tokens=10, stop="\n", temperature=1.0, top_p=0.9, frequency_penalty=0.5, **WATCHED
    )


WORKLOADS: list[Program] = [extract, choose, branch_and_join, agent, plain]
JOBS = [*itertools.product(WORKLOADS, range(2)), *((plain, i) for i in range(2, 8))]
Outcome = dict[tuple[str, int], object]


def outcome(program: Program, i: int, engine: Engine, stream: bool) -> object:
    """All that was generated, bit for bit: repr of a float tells it exactly."""
    state = program.run(i, backend=engine, seed=i, stream=stream)
    if stream:
        assert "".join(state.text_iter()) == state.text()
    found: list[object] = [state.text()]
    for name in state.names():
        # How much had to be computed, or again, and was guessed, is no part of the result.
        costs = dict.fromkeys(("prefilled", "cached", "drafted", "accepted"), 0)
        metas = [replace(meta, **costs) for meta in state.get_meta_infos(name)]
        found.append(repr(metas))
    return found


CIRCUMSTANCES: dict[str, dict[str, Any]] = {
    "all at once": {},
    "chunks of 7": {"max_batch_tokens": 7},
    "one token at a time": {"max_batch_tokens": 1, "max_running": 2},
    "tiny pool": {"max_total_tokens": 300, "max_running": 16},
    "tiny pool, chunks of 33": {"max_total_tokens": 300, "max_batch_tokens": 33},
    "one by one": {"max_running": 1, "policy": "fcfs"},
}

MOST_ROUNDS = 30

ENGINES = {"scripted": scripted_engine, "tiny": tiny_engine}


@pytest.fixture(scope="module", params=ENGINES)
def make_engine(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    return ENGINES[request.param]


@pytest.fixture(scope="module")
def alone(make_engine: Callable[..., Engine]) -> Outcome:
    """Each program alone on a roomy engine of its own, nothing cached, whole prompts at once."""
    found: Outcome = {}
    for program, i in JOBS:
        with make_engine() as engine:
            found[program.name, i] = outcome(program, i, engine, stream=False)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CIRCUMSTANCES)
def test_the_same_bits_in_any_company(
    name: str, alone: Outcome, make_engine: Callable[..., Engine]
) -> None:
    rng = random.Random(name)
    with make_engine(**CIRCUMSTANCES[name]) as engine:
        # The second time round, all is cached that fits. Who meets whom in a tiny pool is for the
        # threads to say: further rounds until somebody had to make room.
        for number in range(MOST_ROUNDS):
            if number >= 2 and (engine.stats().num_preempted or "tiny" not in name):
                break
            stream = number % 2 == 1
            jobs = rng.sample(JOBS, len(JOBS))
            with ThreadPoolExecutor(len(jobs)) as threads:
                running = [threads.submit(outcome, *job, engine, stream) for job in jobs]
            for (program, i), bits in zip(jobs, running, strict=True):
                assert bits.result() == alone[program.name, i], (program.name, i, stream)
        stats = engine.stats()
        assert stats.num_preempted > 0 or "tiny" not in name
        assert stats.cached > 0
