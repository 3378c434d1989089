"""Random programs: alone on a roomy engine, or many at once on a cramped one, the answers agree."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engines import scripted_engine
from support.sessions import drain

import sestina
from sestina import Engine, SamplingParams
from sestina.backend.models.scripted import Script, prefix_hash_script
from sestina.lang.errors import CapacityError
from sestina.lang.ir import Fork, Gen, Ids, Join, Op, Release, Select, SetVar, Text, Var
from sestina.lang.session import ROOT, Chunk, Done, Ended, Event, Failed, SessionOptions

Submissions = list[tuple[str, list[Op]]]

PIECES = ["Hello ", "é", "日本", "\0", "🙂 ", "", "A long prefix that several branches share. "]
STOPS = ["e", "in", "\n", "日", "ab", " "]
CONSTRAINTS = [
    *[None] * 4,
    sestina.regex(r"(ab|c){2,6}[0-9]*"),
    sestina.regex(r"[à-ü日本]{3,5}!?"),
    sestina.json_schema({"type": "object", "properties": {"ok": {"type": "boolean"}}}),
]
METHODS = (
    "token_length_normalized",
    "greedy_token_selection",
    "unconditional_likelihood_normalized",
)
VOCAB_SIZE = 321
SCRIPT = prefix_hash_script(VOCAB_SIZE)


def fragile_script(tokens: tuple[int, ...]) -> torch.Tensor:
    """The hash script, but one sequence in a hundred has no distribution or breaks the model."""
    logits = torch.as_tensor(SCRIPT(tokens))
    fate = int(logits[0].abs() * 1e5) % 200
    if fate == 0:
        raise RuntimeError("boom")
    if fate == 1:
        logits[:] = float("nan")
    return logits


def repeating_script(tokens: tuple[int, ...]) -> torch.Tensor:
    """Logits of the last token alone: the text repeats itself, and guesses are often right."""
    return torch.as_tensor(SCRIPT(tokens[-1:])) * 2


def random_text(rng: random.Random) -> str:
    return "".join(rng.choices(PIECES, k=rng.randint(0, 3)))


def random_gen(rng: random.Random) -> Gen:
    max_tokens = rng.choice([0, 1, 3, 8, 20])
    options = {
        "temperature": rng.choice([0.0, 1.0]),
        "stop": tuple(rng.sample(STOPS, rng.randint(0, 2))),
        "min_tokens": rng.choice([0, 0, max_tokens // 2]),
        "ignore_eos": rng.random() < 0.5,
        "n": rng.choice([1, 1, 1, 3]),
        "stop_token_ids": (rng.randrange(VOCAB_SIZE),),
        "return_logprob": rng.random() < 0.3,
        "logprob_start_len": rng.choice([-1, 0, 5]),
        "top_logprobs_num": rng.choice([0, 2]),
    }
    params = SamplingParams.of({"max_tokens": max_tokens, **options})
    return Gen("x", params, rng.choice(CONSTRAINTS), stream=rng.random() < 0.5)


def random_op(rng: random.Random) -> Op:
    kind = rng.random()
    if kind < 0.35:
        return Text((random_text(rng),))
    if kind < 0.7:
        return random_gen(rng)
    if kind < 0.8:
        choices = tuple(rng.choices(["yes", "no", "maybe", "日本"], k=rng.randint(1, 3)))
        return Select("x", choices, rng.choice(METHODS))  # type: ignore[arg-type]
    if kind < 0.9:
        return Ids(tuple(rng.choices(range(VOCAB_SIZE), k=2)))
    if kind < 0.97:
        return SetVar("x", random_text(rng))
    return Text((Var("x"),))  # fails where nothing set it


def random_program(rng: random.Random) -> Submissions:
    """Ops for a tree of branches; every branch is released."""
    submissions: Submissions = [(ROOT, [Text(("Q: ",))])]

    def grow(branch: str, depth: int) -> None:
        num_children = 0
        for _ in range(rng.randint(1, 4)):
            if depth == 2 or rng.random() < 0.75:
                submissions.append((branch, [random_op(rng)]))
                continue
            size = rng.randint(0, 2)
            children = tuple(f"{branch}.{num_children + i}" for i in range(size))
            num_children += size
            submissions.append((branch, [Fork(children)]))
            for child in children:
                grow(child, depth + 1)
            mode = rng.choice(["gather_variable", "concate_and_append"])
            late = [Text((random_text(rng),))] * rng.randint(0, 1)
            join = [Join(children, mode)] * rng.randint(0, 1)  # type: ignore[arg-type]
            submissions.append((branch, [*late, *join]))
        submissions.append((branch, [Release()]))

    grow(ROOT, 0)
    return submissions


def told(done: Done) -> object:
    """All that must not depend on circumstances (what was found cached or guessed may)."""
    costs = dict.fromkeys(("prefilled", "cached", "drafted", "accepted"), 0)
    metas = [replace(meta, **costs) for meta in done.meta]
    return done.name, done.value, repr(metas)  # repr: NaN equals itself


def outcome(program: Submissions, events: Sequence[Event]) -> dict[tuple[str, int], object]:
    """What each op was answered, after checking that it was, once and in order, before the end."""
    num_ops: Counter[str] = Counter()
    for branch, ops in program:
        num_ops[branch] += len(ops)
    answered: dict[str, list[int]] = defaultdict(list)
    ended: Counter[str] = Counter()
    found: dict[tuple[str, int], object] = {}
    for event in events:
        if isinstance(event, Ended):
            ended[event.branch] += 1
        elif not isinstance(event, Chunk):
            assert not ended[event.branch]
            answered[event.branch].append(event.op)
            found[event.branch, event.op] = "failed" if isinstance(event, Failed) else told(event)
    assert answered == {branch: list(range(n)) for branch, n in num_ops.items()}
    assert ended == dict.fromkeys(num_ops, 1)
    return found


def submit(engine: Engine, program: Submissions, seed: int) -> list[Event]:
    session = engine.open(SessionOptions(seed=seed))
    for branch, ops in program:
        session.submit(branch, ops)
    return drain(session, len({branch for branch, _ in program}))


def assert_idle(engine: Engine) -> None:
    stats = engine.stats()
    assert stats.free_slots + stats.cached_slots == stats.total_slots
    assert stats.num_running == stats.num_waiting == stats.held_slots == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    num_programs=st.integers(1, 6),
    max_total_tokens=st.sampled_from([400, 600, 4096]),
    max_running=st.sampled_from([1, 2, 8]),
    max_batch_tokens=st.sampled_from([1, 5, 64]),
    script=st.sampled_from([SCRIPT, fragile_script, repeating_script]),
    speculation=st.sampled_from(["off", "auto", 2]),
)
def test_answers_do_not_depend_on_company_memory_chunks_or_guesses(
    seed: int,
    num_programs: int,
    max_total_tokens: int,
    max_running: int,
    max_batch_tokens: int,
    script: Script,
    speculation: str | int,
) -> None:
    """Also where rows of a batch have NaN logits or make the model raise: they fail alone."""
    rng = random.Random(seed)
    programs = [random_program(rng) for _ in range(num_programs)]
    wanted = []
    for i, program in enumerate(programs):
        with scripted_engine(script, speculation="off") as engine:
            wanted.append(outcome(program, submit(engine, program, i)))
            assert_idle(engine)
    with scripted_engine(
        script,
        max_total_tokens=max_total_tokens,
        max_running=max_running,
        max_batch_tokens=max_batch_tokens,
        speculation=speculation,
    ) as engine:
        sessions = [engine.open(SessionOptions(seed=i)) for i in range(num_programs)]
        for turn in range(max(map(len, programs))):
            for session, program in zip(sessions, programs, strict=True):
                for branch, ops in program[turn : turn + 1]:
                    session.submit(branch, ops)
            if rng.random() < 0.3:  # somebody who leaves at once
                noise = engine.open(SessionOptions(seed=99))
                for branch, ops in random_program(rng):
                    noise.submit(branch, ops)
                rng.choice([noise.close, noise.cancel])()
        for session, program, expected in zip(sessions, programs, wanted, strict=True):
            events = drain(session, len({branch for branch, _ in program}))
            found = outcome(program, events)
            if not any(isinstance(getattr(e, "error", None), CapacityError) for e in events):
                assert found == expected
        assert_idle(engine)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_branches_cost_adds_up_to_what_the_engine_did(seed: int) -> None:
    """With n > 1, selects, preemption, failures and cancelled programs too."""
    rng = random.Random(seed)
    spent: Counter[str] = Counter()
    with scripted_engine(fragile_script, max_total_tokens=400, max_running=4) as engine:
        for i in range(rng.randint(1, 4)):
            program = random_program(rng)
            session = engine.open(SessionOptions(seed=i))
            for branch, ops in program:
                session.submit(branch, ops)
            if rng.random() < 0.3:
                session.cancel(rng.choice([None, "0.0"]))
            for event in drain(session, len({branch for branch, _ in program})):
                if isinstance(event, Ended):
                    for name in ("prefilled", "cached", "forced", "sampled"):
                        spent[name] += getattr(event.usage, name)
                if isinstance(event, Done):
                    assert all(m.sampled + m.forced >= len(m.ids) or m.choices for m in event.meta)
        stats = engine.stats()
        assert {name: getattr(stats, name) for name in spent} == spent
        assert_idle(engine)
