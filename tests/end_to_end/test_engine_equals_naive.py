"""The engine against the reference loop: same ids, same text, same reason to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engines import scripted_engine, tiny_engine

import sestina
from sestina import Engine, SamplingParams
from sestina.backend.grammar import compile_constraint
from sestina.backend.naive import NaiveResult, generate_naively
from sestina.backend.seeds import derive_seed
from sestina.lang.constraint import Constraint

CONSTRAINTS: dict[str, Constraint | None] = {
    "free": None,
    "regex": sestina.regex(r"(ab|c){2,6}[0-9]*"),
    "unicode": sestina.regex(r"[à-ü日本]{3,5}!?"),
    "choices": sestina.choices(["yes", "no", "not sure"]),
    "record": sestina.json_schema(
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 6},
                "age": {"type": "integer", "minimum": 0, "maximum": 150},
                "tags": {"type": "array", "items": {"enum": ["a", "bc"]}, "maxItems": 2},
                "paid": {"type": "boolean"},
            },
            "required": ["name", "age", "tags", "paid"],
            "additionalProperties": False,
        }
    ),
}

SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "sampled": {"temperature": 1.0, "seed": 3},
    "filtered": {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "seed": 5},
    "penalised": {
        "temperature": 0.0,
        "frequency_penalty": 0.7,
        "presence_penalty": 0.3,
        "repetition_penalty": 1.3,
        "logit_bias": {101: 2.0, 97: -3.0},
    },
    "stopped": {"temperature": 0.9, "seed": 11, "stop": ["e", "in", "qu"]},
    "at least": {"temperature": 0.0, "min_tokens": 10, "ignore_eos": True},
}


@pytest.fixture(scope="module", params=["scripted", "tiny"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    make = scripted_engine if request.param == "scripted" else tiny_engine
    with make() as engine:
        yield engine


def naive(engine: Engine, prompt: str, constraint: Constraint | None, **params: Any) -> NaiveResult:
    tokenizer = engine.tokenizer
    return generate_naively(
        engine.model.model,
        tokenizer,
        tokenizer.encode(prompt),
        SamplingParams.of(params),
        seed=derive_seed(params["seed"], "", 0, 0) if "seed" in params else 0,
        grammar=None if constraint is None else compile_constraint(constraint, tokenizer),
        heal_from=0,
    )


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_one_prompt(engine: Engine, constraint: str, sampling: str) -> None:
    # The shortest record takes 41 tokens; little more is left, so that the budget is felt.
    params = {"max_tokens": 45 if constraint == "record" else 24, **SAMPLING[sampling]}
    wanted = naive(engine, "The quick brown fox: ", CONSTRAINTS[constraint], **params)
    got = engine.generate("The quick brown fox: ", constraint=CONSTRAINTS[constraint], **params)
    assert (got.text, got.finish_reason) == (wanted.text, wanted.finish_reason)
    if wanted.finish_reason != "stop":
        assert got.meta.ids == wanted.ids


def test_a_batch_is_its_prompts_one_by_one(engine: Engine) -> None:
    prompts = [f"Item {i}. " * (1 + i % 5) for i in range(24)]
    together = engine.generate(prompts, max_tokens=12, temperature=0.8, seed=9)
    for prompt, got in zip(prompts, together, strict=True):
        wanted = naive(engine, prompt, None, max_tokens=12, temperature=0.8, seed=9)
        assert got.text == wanted.text


@settings(max_examples=25, deadline=None)
@given(
    prompts=st.lists(st.text(alphabet="abc de", min_size=1, max_size=60), min_size=1, max_size=8),
    max_total_tokens=st.integers(110, 300),
    max_batch_tokens=st.integers(4, 64),
    max_running=st.integers(1, 8),
)
def test_small_pools_small_chunks_and_preemption_change_nothing(
    prompts: list[str], max_total_tokens: int, max_batch_tokens: int, max_running: int
) -> None:
    """Memory for a fraction of the work: sequences wait, are preempted and recomputed."""
    constraint = CONSTRAINTS["record"]
    with scripted_engine(
        max_total_tokens=max_total_tokens,
        max_batch_tokens=max_batch_tokens,
        max_running=max_running,
    ) as small:
        got = small.generate(prompts, constraint=constraint, max_tokens=45, seed=1)
        for prompt, completion in zip(prompts, got, strict=True):
            wanted = naive(small, prompt, constraint, max_tokens=45, seed=1)
            assert completion.text == wanted.text
        stats = small.stats()
        assert stats.free_slots + stats.cached_slots == stats.total_slots


def test_the_pool_is_small_enough_to_preempt() -> None:
    with scripted_engine(max_total_tokens=128, max_running=8) as small:
        completions = small.generate(
            [f"{i} prompt that is not shared" for i in range(8)], max_tokens=60, ignore_eos=True
        )
        assert {c.finish_reason for c in completions} == {"length"}
        assert small.stats().num_preempted > 0
