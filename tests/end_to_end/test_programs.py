"""Programs on the real engine: turns, selects, forks, stops, streams, failures."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator

import pytest
from support.engines import scripted_engine, tiny_engine

import sestina
from sestina import Engine, ProgramError, assistant, function, gen, select, system, user
from sestina.backend.models.naive import sequence_logits
from sestina.lang.state import State


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine() as engine:
        yield engine


def says(text: str) -> object:
    """A script that continues with the bytes of `text`, then ends."""
    data = text.encode()

    def script(tokens: tuple[int, ...]) -> int:
        at = len(tokens) - start
        return data[at] if at < len(data) else 256

    start = len("Q: ")
    return script


def test_a_conversation_is_the_models_own_template(engine: Engine) -> None:
    @function
    def talk(s: State) -> None:
        s += system("Be brief.") + user("Hi!") + assistant(gen("answer", max_tokens=5))

    state = talk.run(backend=engine)
    assert state.text() == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n"
        f"<|im_start|>assistant\n{state['answer']}<|im_end|>\n"
    )
    assert state.messages()[1] == {"role": "user", "content": "Hi!"}


def test_text_that_spells_a_control_token_is_text(engine: Engine) -> None:
    """Only the template writes control tokens: a user cannot close his own turn."""

    @function
    def talk(s: State) -> None:
        s += user("<|im_end|>") + assistant(gen("answer", max_tokens=1))

    before = engine.stats().prefilled + engine.stats().cached
    talk.run(backend=engine).sync()
    stats = engine.stats()
    tokenizer = engine.tokenizer
    wanted = (
        tokenizer.encode("<|im_start|>user\n", allow_control=True)
        + tokenizer.encode("<|im_end|>")
        + tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n", allow_control=True)
    )
    assert stats.prefilled + stats.cached - before == pytest.approx(len(wanted), abs=2)


@pytest.mark.parametrize(
    "method",
    ["token_length_normalized", "greedy_token_selection", "unconditional_likelihood_normalized"],
)
def test_select_scores_are_brute_force(method: str) -> None:
    choices = ["Paris", "London", "Par", "the city of Rome", "P"]

    @function
    def ask(s: State) -> None:
        s += "The capital of France is " + select("city", choices, choices_method=method)

    with tiny_engine() as engine:
        meta = ask.run(backend=engine).get_meta_info("city")
        prompt = engine.tokenizer.encode("The capital of France is ")
        joint = []
        for choice, score in zip(choices, meta.choices or (), strict=True):
            ids = engine.tokenizer.encode(choice)
            logprobs = sequence_logits(engine.model.model, prompt + ids).log_softmax(-1)
            wanted = [float(logprobs[len(prompt) + i - 1, t]) for i, t in enumerate(ids)]
            assert score.token_logprobs == pytest.approx(wanted, abs=1e-4)
            joint.append(math.fsum(wanted))
            if score.unconditional_logprobs is not None:
                alone = sequence_logits(engine.model.model, ids).log_softmax(-1)
                bare = [0.0, *(float(alone[i, t]) for i, t in enumerate(ids[1:]))]
                assert score.unconditional_logprobs == pytest.approx(bare, abs=1e-4)
        assert meta.label_mass == pytest.approx(sum(map(math.exp, joint)), rel=1e-3)
        assert sum(score.probability for score in meta.choices or ()) == pytest.approx(1.0)


def test_fork_and_join(engine: Engine) -> None:
    @function
    def program(s: State) -> None:
        s += "Topic. " + gen("head", max_tokens=3)
        forks = s.fork(3)
        for i, f in enumerate(forks):
            f += f"Point {i}: " + gen("point", max_tokens=4)
        forks.join()
        s += "Summary of " + str(s["point"]) + gen("tail", max_tokens=3)

    state = program.run(backend=engine)
    assert len(state["point"]) == 3
    assert "Summary of [" in state.text()


def test_join_by_concatenation_keeps_the_text(engine: Engine) -> None:
    @function
    def program(s: State) -> None:
        s += "A"
        forks = s.fork(2)
        for i, f in enumerate(forks):
            f += f"<{i}>" + gen("x", max_tokens=4, ignore_eos=True)
        forks.join("concate_and_append")
        s += "Z"

    text = program.run(backend=engine).text()
    assert text.startswith("A<0>")
    assert "<1>" in text
    assert text.endswith("Z")


def test_a_variable_is_pasted_without_coming_back(engine: Engine) -> None:
    @function
    def program(s: State) -> None:
        s += (
            "Name: " + gen("name", max_tokens=4, ignore_eos=True) + " again: " + sestina.var("name")
        )

    state = program.run(backend=engine)
    assert state.text() == f"Name: {state['name']} again: {state['name']}"


@pytest.mark.parametrize("stop", ["END", ["xx", "END"], "D"])
def test_stop_texts_are_cut_and_what_follows_is_clean(stop: str | list[str]) -> None:
    with scripted_engine(says("hello END rest"), num_merges=0) as engine:  # type: ignore[arg-type]

        @function
        def program(s: State) -> None:
            s += "Q: " + gen("a", max_tokens=20, stop=stop, temperature=0.0) + "|"

        state = program.run(backend=engine)
        kept = "hello EN" if stop == "D" else "hello "
        assert state["a"] == kept
        assert state.text() == f"Q: {kept}|"
        assert state.get_meta_info("a").matched == (stop if isinstance(stop, str) else "END")


def test_stop_regex() -> None:
    with scripted_engine(says("value 12345 and on"), num_merges=0) as engine:  # type: ignore[arg-type]
        got = engine.generate("Q: ", stop_regex=r"[0-9]{3}", temperature=0.0, max_tokens=20)
        assert got.text == "value "
        assert got.finish_reason == "stop"


def test_streamed_pieces_are_the_text(engine: Engine) -> None:
    @function
    def program(s: State) -> None:
        s += "Once " + gen("story", max_tokens=40, ignore_eos=True, stop="zzz")

    state = program.stream(backend=engine, seed=4)
    pieces = list(state.text_iter("story"))
    assert "".join(pieces) == state["story"]
    assert len(pieces) > 5
    whole = program.run(backend=engine, seed=4)
    assert whole["story"] == state["story"]


def test_async_programs_share_one_loop(engine: Engine) -> None:
    async def main() -> list[str]:
        completions = await asyncio.gather(
            *(engine.agenerate(f"prompt {i}", max_tokens=5, seed=i) for i in range(20))
        )
        return [completion.text for completion in completions]

    texts = asyncio.run(main())
    assert texts == [engine.generate(f"prompt {i}", max_tokens=5, seed=i).text for i in range(20)]


def test_logprobs_are_the_models_own() -> None:
    with tiny_engine() as engine:
        meta = engine.generate(
            "The quick brown",
            regex=r"(fox|dog) jumps over [a-z]{3}",
            temperature=0.0,
            max_tokens=40,
            return_logprob=True,
            logprob_start_len=2,
            top_logprobs_num=3,
            return_text_in_logprobs=True,
        ).meta
        prompt = engine.tokenizer.encode("The quick brown")
        ids = [*prompt, *meta.ids]
        logprobs = sequence_logits(engine.model.model, ids).log_softmax(-1)
        recorded = [*(meta.prompt_logprobs or ()), *(meta.logprobs or ())]
        assert meta.forced > 5
        assert [entry.id for entry in recorded] == ids[2:]
        for index, entry in enumerate(recorded, start=2):
            assert entry.logprob == pytest.approx(float(logprobs[index - 1, entry.id]), abs=1e-4)
            best = logprobs[index - 1].topk(3)
            assert [i for i, _, _ in entry.top] == best.indices.tolist()
            assert entry.text == engine.tokenizer.decode([entry.id])


def test_typed_values(engine: Engine) -> None:
    got = engine.generate("Numbers: ", schema=list[int], max_tokens=64, seed=1, regex=None)
    assert isinstance(got.value, list)
    assert all(isinstance(n, int) for n in got.value)


def test_one_failing_program_harms_no_other(engine: Engine) -> None:
    @function
    def program(s: State, pattern: str) -> None:
        s += "x" + gen("a", max_tokens=4, stop_regex=pattern)
        s += "y" + gen("b", max_tokens=4)

    states = program.run_batch([{"pattern": p} for p in ["a+", "(", "b+"]], backend=engine)
    assert [state.error() is None for state in states] == [True, False, True]
    with pytest.raises(ProgramError, match=r"test_programs\.py"):
        _ = states[1]["b"]


def test_a_text_that_can_never_fit_is_refused_with_both_numbers() -> None:
    with (
        scripted_engine(max_total_tokens=64) as engine,
        pytest.raises(ProgramError, match=r"needs 1,\d+ tokens, limit 64"),
    ):
        engine.generate("x" * 1000, max_tokens=8)


@pytest.mark.parametrize("max_tokens", [12, 13, 15, 30])
def test_constrained_texts_end_within_max_tokens(engine: Engine, max_tokens: int) -> None:
    pattern = r"(\([a-z]{4,40}\)){2}y*"
    for seed in range(5):
        got = engine.generate("x", regex=pattern, max_tokens=max_tokens, seed=seed)
        assert re.fullmatch(pattern, got.text)
        assert len(got.meta.ids) <= max_tokens


def test_a_budget_that_a_constraint_does_not_fit_is_refused_with_both_numbers(
    engine: Engine,
) -> None:
    with pytest.raises(ProgramError, match="max_tokens is 3, and the constraint takes 4 tokens"):
        engine.generate("x", regex="[0-9]{4,}", max_tokens=3)
    assert engine.generate("x", regex="[0-9]{4,}", max_tokens=4).text.isdigit()
    assert engine.generate("x", regex="[0-9]{4,}", max_tokens=0).text == ""


def test_nothing_to_continue_is_an_error(engine: Engine) -> None:
    with pytest.raises(ProgramError, match="the text is empty"):
        engine.generate("", max_tokens=4)


def test_bos_is_put_before_a_bare_text_once() -> None:
    with scripted_engine(num_merges=0, add_bos=True) as engine:
        engine.generate("abc", max_tokens=1)
        assert engine.stats().prefilled == 4


def test_cancel_frees_everything(engine: Engine) -> None:
    @function
    def endless(s: State) -> None:
        s += "go" + gen("x", max_tokens=3000, ignore_eos=True)

    state = endless.stream(backend=engine)
    next(iter(state.text_iter("x")))
    state.cancel()
    with pytest.raises(ProgramError, match="cancelled"):
        _ = state["x"]
    stats = engine.stats()
    assert stats.num_running == stats.num_waiting == stats.held_slots == 0


def test_closing_the_engine_answers_everything() -> None:
    engine = scripted_engine()

    @function
    def endless(s: State) -> None:
        s += "go" + gen("x", max_tokens=3000, ignore_eos=True)

    state = endless.stream(backend=engine)
    next(iter(state.text_iter("x")))
    engine.close()
    with pytest.raises(ProgramError, match="closed"):
        _ = state["x"]
    with pytest.raises(sestina.EngineClosed):
        engine.generate("more")
    engine.close()


def test_a_model_that_breaks_fails_its_batch_and_no_more() -> None:
    def script(tokens: tuple[int, ...]) -> int:
        if tokens[0] == ord("!"):
            raise RuntimeError("no such weights")
        return 97

    with scripted_engine(script, num_merges=0) as engine:
        with pytest.raises(ProgramError, match="no such weights"):
            engine.generate("!", max_tokens=3)
        assert engine.generate("ok", max_tokens=3, temperature=0.0).text == "aaa"
        stats = engine.stats()
        assert stats.free_slots + stats.cached_slots == stats.total_slots
