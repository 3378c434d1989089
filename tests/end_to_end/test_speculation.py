"""Guessing ahead changes how many passes it takes, and nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.engines import scripted_engine, tiny_engine

import sestina
from sestina import Engine
from sestina.backend.completion import Completion
from sestina.backend.models.scripted import Script, prefix_hash_script
from sestina.lang.constraint import Constraint
from sestina.lang.errors import InvalidParams
from sestina.lang.session import GenMeta

RECORDS = sestina.json_schema(
    {
        "type": "array",
        "minItems": 3,
        "maxItems": 4,
        "items": {
            "type": "object",
            "properties": {
                "kind": {"enum": ["fox", "dog", "cat"]},
                "name": {"type": "string", "maxLength": 8},
                "age": {"type": "integer", "minimum": 0, "maximum": 99},
            },
            "required": ["kind", "name", "age"],
            "additionalProperties": False,
        },
    }
)

CONSTRAINTS: dict[str, Constraint | None] = {
    "free": None,
    "regex": sestina.regex(r"((ab|c){2,6}[0-9]{2} ){3,9}"),
    "records": RECORDS,
}

COMMON: dict[str, Any] = {"max_tokens": 150, "ignore_eos": True}
SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "sampled": {"temperature": 1.0, "seed": 3},
    "filtered": {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "seed": 5},
    "penalised": {
        "temperature": 0.0,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.1,
        "repetition_penalty": 1.05,
        "logit_bias": {101: 2.0, 97: -3.0},
    },
    "stopped": {"temperature": 0.5, "seed": 11, "stop": ["dog", "9 a", "ee"], "min_tokens": 12},
    "with logprobs": {"temperature": 0.0, "return_logprob": True, "top_logprobs_num": 2},
    "several": {"temperature": 1.0, "seed": 4, "n": 3},
}

PROMPT = "The quick brown fox jumps over the lazy dog. The quick brown fox: "


def local_script() -> Script:
    """Logits that depend on the last token alone: the text soon repeats itself."""
    script = prefix_hash_script(321)
    known: dict[tuple[int, ...], torch.Tensor] = {}

    def local(tokens: tuple[int, ...]) -> torch.Tensor:
        tail = tokens[-1:]
        if tail not in known:
            known[tail] = torch.as_tensor(script(tail)) * 1.5
        return known[tail]

    return local


def told(completion: Completion) -> list[GenMeta]:
    return [replace(m, prefilled=0, cached=0, drafted=0, accepted=0) for m in completion.metas]


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_same_comes_out_token_for_token(constraint: str, sampling: str) -> None:
    options = {"constraint": CONSTRAINTS[constraint], **COMMON, **SAMPLING[sampling]}
    with scripted_engine(local_script(), speculation="off") as plain:
        wanted = plain.generate(PROMPT, **options)
        assert plain.stats().drafted == 0
    with scripted_engine(local_script()) as engine:
        got = engine.generate(PROMPT, **options)
        stats = engine.stats()
    assert told(got) == told(wanted)
    assert 0 < stats.accepted <= stats.drafted
    assert stats.sampled == sum(m.sampled for m in got.metas)


@pytest.mark.parametrize("sampling", ["greedy", "sampled"])
@pytest.mark.parametrize("constraint", ["free", "records"])
def test_a_real_forward_pass_in_float32_too(constraint: str, sampling: str) -> None:
    """Rows of one pass against passes of their own: a Llama rather than a script."""
    options = {"constraint": CONSTRAINTS[constraint], **COMMON, **SAMPLING[sampling]}
    prompts = [PROMPT * 2, "abcabcabcabcabcabc", '[{"kind": "fox", "name": "']
    with tiny_engine(speculation="off") as plain, tiny_engine() as engine:
        wanted = plain.generate(prompts, **options)
        got = engine.generate(prompts, **options)
        assert [told(one) for one in got] == [told(one) for one in wanted]
        assert engine.stats().drafted > 0


def test_right_guesses_save_passes() -> None:
    """A text that repeats itself takes a fraction of the passes: up to 9 tokens in each."""

    def run(**options: Any) -> tuple[str, int]:
        with scripted_engine(local_script(), **options) as engine:
            text = engine.generate(PROMPT, max_tokens=200, temperature=0, ignore_eos=True).text
            return text, engine.stats().forward_passes

    plain, few, many = run(speculation="off"), run(speculation=2), run(speculation="auto")
    assert plain[0] == few[0] == many[0]
    assert plain[1] == 201  # the last token of the prompt is drawn anew
    assert plain[1] > 2 * few[1]
    assert few[1] > 2 * many[1]


def test_habits_of_a_grammar_save_passes_without_any_repetition_in_the_text() -> None:
    """The model always closes the short way; no token of the prompt says so."""
    grammar = sestina.regex(r"[0-9](x|yy)[0-9](x|yy)[0-9](x|yy)")

    def script(tokens: tuple[int, ...]) -> torch.Tensor:
        logits = torch.as_tensor(prefix_hash_script(261)(tokens))
        logits[ord("x")] += 50
        return logits

    with scripted_engine(script, num_merges=0) as engine:
        first = engine.generate("A: ", constraint=grammar, seed=1).meta
        later = engine.generate("B: ", constraint=grammar, seed=2).meta
    assert later.text[1::2] == "xxx"
    assert first.accepted < later.accepted == 2, "the last x ends the text: it is drawn"


def test_text_that_does_not_repeat_itself_is_left_alone() -> None:
    """Random logits: guesses are wrong, and soon there are hardly any."""
    with scripted_engine() as engine:
        options: dict[str, Any] = {"max_tokens": 400, "seed": 1, "ignore_eos": True}
        early = engine.generate(PROMPT * 8, **options).meta
        late = engine.generate(PROMPT * 8, **options).meta
    assert early.drafted < 200
    assert late.drafted <= early.drafted / 2


ALONG_ONE_TEXT: dict[str, Any] = {
    "seed": 2,
    "temperature": 1.0,
    "ignore_eos": True,
    "heal": False,
}


def broken_script(how: Callable[[torch.Tensor], None]) -> Script:
    """A local script that is fine along one text, and breaks on prefixes that leave it."""
    local = local_script()
    with scripted_engine(local, speculation="off") as plain:
        meta = plain.generate(PROMPT, max_tokens=60, **ALONG_ONE_TEXT).meta
        prompt = tuple(plain.tokenizer.encode(PROMPT))
    text = prompt + meta.ids

    def script(tokens: tuple[int, ...]) -> torch.Tensor:
        logits = torch.as_tensor(local(tokens)).clone()
        if tokens != text[: len(tokens)]:
            how(logits)
        return logits

    return script


def raises(logits: torch.Tensor) -> None:
    raise RuntimeError("boom")


def turns_nan(logits: torch.Tensor) -> None:
    logits[:] = float("nan")


@pytest.mark.parametrize("how", [raises, turns_nan])
def test_what_breaks_behind_a_wrong_guess_breaks_nothing(
    how: Callable[[torch.Tensor], None],
) -> None:
    with scripted_engine(broken_script(how)) as engine:
        meta = engine.generate(PROMPT, max_tokens=60, **ALONG_ONE_TEXT).meta
        assert len(meta.ids) == 60
        assert engine.stats().accepted < engine.stats().drafted or how is raises
        stats = engine.stats()
        assert stats.free_slots + stats.cached_slots == stats.total_slots


@pytest.mark.slow
def test_samples_are_distributed_as_the_model_says() -> None:
    """Chi-square over the joint outcome of three draws, guesses of which are often right."""
    vocab_size, rounds = 261, 24
    letters = torch.tensor([ord(c) for c in "abc"])

    def script(tokens: tuple[int, ...]) -> torch.Tensor:
        logits = torch.full((vocab_size,), -1e9)
        logits[letters] = torch.tensor([1.2, 0.3, 0.0]).roll(tokens[-1] % 3)
        return logits

    def probability(text: str) -> float:
        tokens, total = (ord("a"),), 1.0
        for character in text:
            shares = script(tokens)[letters].double().softmax(0).tolist()
            total *= shares["abc".index(character)]
            tokens = (*tokens, ord(character))
        return total

    seen: Counter[str] = Counter()
    with scripted_engine(script, num_merges=0, max_running=4, speculation=4) as engine:
        for seed in range(rounds):
            options: dict[str, Any] = {"max_tokens": 4, "n": 128, "seed": seed}
            metas = engine.generate("abcacbaabbccacabcba", **options).metas
            seen.update(meta.text[1:] for meta in metas if meta.text[0] == "a")
        assert engine.stats().accepted > 1000
    total = sum(seen.values())
    texts = [x + y + z for x in "abc" for y in "abc" for z in "abc"]
    assert math.isclose(sum(map(probability, texts)), 1.0)
    statistic = sum(
        (seen[text] - total * probability(text)) ** 2 / (total * probability(text))
        for text in texts
    )
    # 26 degrees of freedom: 54.05 is exceeded once in a thousand times. The seeds are fixed.
    assert statistic < 54.05


@pytest.mark.parametrize("wrong", ["on", -1, 1.5, True, None])
def test_the_option_is_checked(wrong: Any) -> None:
    with pytest.raises(InvalidParams, match="speculation"):
        Engine("tiny-random", speculation=wrong)
