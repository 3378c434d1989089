"""Token healing: what comes out equals the reference loop, and no byte of a prompt ever changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engines import scripted_engine, tiny_engine
from support.sessions import answers, events_of, text, values

import sestina
from sestina import Engine, SamplingParams
from sestina.backend.grammar import TokenTrie, compile_constraint
from sestina.backend.models.naive import sequence_logits
from sestina.backend.naive import generate_naively
from sestina.backend.ops.healing import num_to_heal, text_after
from sestina.backend.seeds import derive_seed
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.backend.weights.fetch import cached_model
from sestina.lang.ir import Fork, Gen, Ids, Join, Op, Release, RoleBegin, RoleEnd, Select, Text
from sestina.lang.session import ROOT, Chunk, Done, GenMeta, SessionOptions

MODEL = "smollm2-135m-instruct"
TOKENIZER = ByteTokenizer(300)
TRIE = TokenTrie.from_tokenizer(TOKENIZER)
SPELLED = sorted({data for data in TRIE.token_bytes if data})
CONSTRAINTS = [
    None,
    sestina.regex(r"[ -~]{2,9}"),
    sestina.regex(r"(?s:.){1,4}"),
    sestina.choices(["no", "not", "e: ", "{}"]),
    sestina.json_schema({"type": "array", "items": {"enum": ["a", True]}, "maxItems": 3}),
]

PIECES = ["The fox ", "q", "uo", "{", ': "', "jum", " =", "日", "é", "\n", "e", "n", "na", "ame"]
UNEXTENDABLE = next(c for c in "KVWXYZ" if not any(c.encode() in t for t in SPELLED if len(t) > 1))
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine(num_merges=300) as engine:
        yield engine


@pytest.fixture(scope="module")
def cramped() -> Iterator[Engine]:
    """Prefills come in chunks, sequences wait and are preempted."""
    with scripted_engine(num_merges=300, max_total_tokens=400, max_batch_tokens=9) as engine:
        yield engine


def root(ops: list[Op]) -> tuple[str, list[Op]]:
    return ROOT, [*ops, Release()]


def meta_of(answer: object) -> GenMeta:
    assert isinstance(answer, Done)
    (meta,) = answer.meta
    return meta


def spelled(ids: tuple[int, ...] | list[int]) -> bytes:
    return b"".join(map(TOKENIZER.token_bytes, ids))


def bare(name: str, **options: Any) -> Gen:
    return Gen(name, SamplingParams.of({"max_tokens": 5, "temperature": 0.0, **options}))


# ---- which tokens


@given(
    st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(SPELLED), texts.map(str.encode))
)
def test_longer_tokens_are_found(data: bytes) -> None:
    assert TRIE.has_longer(data) == any(t.startswith(data) and t != data for t in SPELLED)


@settings(max_examples=200)
@given(texts, st.integers(0, 3))
def test_as_many_as_no_token_reaches_out_of(prompt: str, start: int) -> None:
    tokens = TOKENIZER.encode(prompt)
    count = num_to_heal(tokens, start, TRIE)
    begins = [
        n
        for n in range(1, len(tokens) - max(1, start) + 1)
        if any(t.startswith(s := spelled(tokens[-n:])) and t != s for t in SPELLED)
    ]
    assert count == max(begins, default=0)


def test_examples_need_all_counts() -> None:
    counts = {num_to_heal(TOKENIZER.encode("x" + p), 0, TRIE) for p in [*PIECES, "jum", "{Z"]}
    assert {0, 1} < counts


# ---- the same as the reference loop


@settings(max_examples=60)
@given(
    prompt=texts,
    constraint=st.sampled_from(CONSTRAINTS),
    temperature=st.sampled_from([0.0, 1.0]),
    max_tokens=st.integers(5, 12),
    stop=st.sets(st.sampled_from(["e", ", ", "ox", "日", '"']), max_size=2),
    min_tokens=st.sampled_from([0, 0, 3]),
    ignore_eos=st.booleans(),
    stop_token_ids=st.lists(st.integers(0, 560), max_size=40),
    penalty=st.sampled_from([0.0, 0.7]),
)
def test_equals_the_reference_loop(
    engine: Engine, prompt: str, constraint: sestina.Constraint | None, **options: Any
) -> None:
    options["stop"] = sorted(options["stop"])
    options["presence_penalty"] = options.pop("penalty")
    seed = 7
    params = {**options, "seed": seed, "return_logprob": True, "logprob_start_len": 0}
    got = engine.generate(prompt, constraint=constraint, **params)
    quiet = engine.generate(prompt, constraint=constraint, **options, seed=seed)
    many = engine.generate(prompt, constraint=constraint, **options, seed=seed, n=2)
    wanted = generate_naively(
        engine.model.model,
        TOKENIZER,
        TOKENIZER.encode(prompt),
        SamplingParams.of(options),
        seed=derive_seed(seed, "", 0, 0),
        grammar=None if constraint is None else compile_constraint(constraint, TOKENIZER),
        heal_from=0,
    )
    assert (got.text, got.finish_reason) == (wanted.text, wanted.finish_reason)
    assert quiet.text == many.texts[0] == got.text
    meta = got.meta
    assert meta.prompt_logprobs is not None
    assert meta.logprobs is not None
    prompt_ids = [one.id for one in meta.prompt_logprobs]
    if wanted.finish_reason != "stop":
        assert meta.ids == quiet.meta.ids == wanted.ids
        assert tuple(prompt_ids) == wanted.prompt_ids
    assert tuple(one.id for one in meta.logprobs) == meta.ids
    whole = spelled(prompt_ids) + spelled(meta.ids)
    assert prompt.encode().startswith(spelled(prompt_ids))
    assert whole.startswith(prompt.encode()) or not meta.ids


@settings(max_examples=40)
@given(prompt=texts)
def test_log_probabilities_are_the_models_own(engine: Engine, prompt: str) -> None:
    meta = engine.generate(
        prompt, max_tokens=4, seed=1, return_logprob=True, logprob_start_len=0
    ).meta
    assert meta.prompt_logprobs is not None
    assert meta.logprobs is not None
    known = [*meta.prompt_logprobs, *meta.logprobs]
    logits = sequence_logits(engine.model.model, [one.id for one in known])
    log_probs = torch.log_softmax(logits.double(), -1)
    for i, one in enumerate(known[1:]):
        assert one.logprob == pytest.approx(float(log_probs[i, one.id]), abs=1e-4)


@settings(max_examples=25)
@given(prompt=texts)
def test_nothing_to_extend_changes_nothing(engine: Engine, prompt: str) -> None:
    if num_to_heal(TOKENIZER.encode(prompt), 0, TRIE):
        prompt += UNEXTENDABLE
    healed, plain = (
        engine.generate(prompt, max_tokens=6, seed=3, heal=heal) for heal in (True, False)
    )
    assert (healed.text, healed.meta.ids) == (plain.text, plain.meta.ids)
    assert healed.meta.sampled == plain.meta.sampled


@settings(max_examples=25)
@given(prompt=texts, temperature=st.sampled_from([0.0, 1.0]))
def test_drawing_the_same_token_changes_nothing(prompt: str, temperature: float) -> None:
    """Then all goes on as without, noise included."""
    options = {"max_tokens": 6, "temperature": temperature, "seed": 3}
    ids = TOKENIZER.encode(prompt)

    def script(tokens: tuple[int, ...]) -> torch.Tensor:
        logits = torch.randn(561, generator=torch.Generator().manual_seed(hash(tokens) % 2**31))
        if len(tokens) < len(ids) and tokens == tuple(ids[: len(tokens)]):
            logits[ids[len(tokens)]] = 90.0
        return logits

    with scripted_engine(script, num_merges=300) as engine:
        healed, plain = (engine.generate(prompt, **options, heal=heal) for heal in (True, False))
    assert (healed.text, healed.meta.ids) == (plain.text, plain.meta.ids)


# ---- programs


@settings(max_examples=60)
@given(
    parts=st.lists(texts, min_size=1, max_size=4),
    stops=st.lists(st.sampled_from(["e", "a", "1", " "]), max_size=2),
    stream=st.booleans(),
    data=st.data(),
)
def test_text_and_tokens_agree_in_programs(
    cramped: Engine, parts: list[str], stops: list[str], stream: bool, data: st.DataObject
) -> None:
    """However gens end and texts follow, the tokens spell the text."""
    ops: list[Op] = []
    for part in parts:
        params = SamplingParams(max_tokens=data.draw(st.integers(0, 5)), stop=tuple(stops))
        pattern = data.draw(st.sampled_from([r"[a-e: ]{1,6}", r"[^é日]?", r"[ -~]{3}"]))
        ops += [Text((part,)), Gen("x", params, sestina.regex(pattern), stream=stream)]
        if params.max_tokens is not None and params.max_tokens < 3:
            ops[-1] = Text(("",))
    check = SamplingParams(max_tokens=0, return_logprob=True, logprob_start_len=0)
    events = events_of(cramped, root([*ops, Gen("check", check)]))
    known = meta_of(answers(events)[-2]).prompt_logprobs
    assert known is not None
    assert spelled([one.id for one in known]).decode() == text(events)


@settings(max_examples=25)
@given(prompt=texts, seed=st.integers(0, 20))
def test_streaming_changes_nothing(engine: Engine, prompt: str, seed: int) -> None:
    params = SamplingParams(max_tokens=6, seed=seed, stop=("e",))
    plain, streamed = (
        events_of(engine, root([Text((prompt,)), Gen("x", params, stream=stream)]))
        for stream in (False, True)
    )
    assert text(plain) == text(streamed) == prompt + str(values(plain)["x"])
    assert values(plain) == values(streamed)
    chunks = [e for e in streamed if isinstance(e, Chunk) and e.op == 1]
    ids = tuple(i for chunk in chunks for i in chunk.ids)
    assert ids[: len(meta_of(answers(streamed)[1]).ids)] == meta_of(answers(streamed)[1]).ids


@settings(max_examples=12)
@given(prompt=texts, prefix=texts)
def test_markup_and_ids_are_never_healed(engine: Engine, prompt: str, prefix: str) -> None:
    for ops in (
        [RoleBegin("user"), Text((prompt,)), RoleEnd("user"), RoleBegin("assistant")],
        [Text((prefix,)), Ids(tuple(TOKENIZER.encode(prompt)))],
        [Text((prefix,)), Select("y", (prompt, prompt + "Z"))],
    ):
        healed, plain = (
            events_of(engine, root([*ops, bare("x", seed=5, temperature=1.0, heal=heal)]))
            for heal in (True, False)
        )
        assert values(healed) == values(plain)
        assert meta_of(answers(healed)[-2]).ids == meta_of(answers(plain)[-2]).ids


def test_text_after_markup_heals_down_to_the_markup() -> None:
    begin: list[Op] = [RoleBegin("assistant")]
    check = SamplingParams(max_tokens=3, return_logprob=True, logprob_start_len=0, temperature=0.0)
    name = next(i for i in range(561) if TOKENIZER.token_bytes(i) == b"name")
    with scripted_engine(lambda _: name, num_merges=300) as engine:
        events = events_of(engine, root([*begin, Text(("na",)), Gen("x", check)]))
        markup = TOKENIZER.encode("<|im_start|>assistant\n", allow_control=True)
    known = meta_of(answers(events)[2]).prompt_logprobs
    assert known is not None
    assert [one.id for one in known] == markup
    assert str(values(events)["x"]).startswith("me")


@settings(max_examples=25)
@given(prompt=texts, own=st.sampled_from(["", "", "na", "Z"]), seed=st.integers(0, 9))
def test_forks_heal_on_their_own(engine: Engine, prompt: str, own: str, seed: int) -> None:
    """A child's gen is that of one line of the same text; joined, tokens still spell the text."""
    options = {"max_tokens": 3, "temperature": 1.0, "seed": seed, "ignore_eos": True}
    check = SamplingParams(max_tokens=0, return_logprob=True, logprob_start_len=0)
    pattern = sestina.regex(r"[ -~日é]{1,6}")
    line = Gen("x", SamplingParams.of({**options, "max_tokens": 6}), pattern)
    children = ("0.0", "0.1")
    child: list[Op] = [Text((own,)), line, Release()]
    after: list[Op] = [Gen("x", line.params, pattern), Gen("check", check), Release()]
    join = Join(children, "concate_and_append")
    alone = events_of(engine, (ROOT, [Text((prompt,)), Fork(("0.0",)), Release()]), ("0.0", child))
    events = events_of(
        engine,
        (ROOT, [Text((prompt,)), Fork(children)]),
        *((each, child) for each in children),
        (ROOT, [join, *after]),
    )
    for each in children:
        assert values(events, each) == values(alone, "0.0")
    known = meta_of(answers(events)[-2]).prompt_logprobs
    assert known is not None
    assert spelled([one.id for one in known]).decode() == text(events)


def test_siblings_share_the_prompt_with_what_was_taken_back() -> None:
    """What healing leaves to be computed is what there was without."""
    prompt = "There is enough text here for siblings to wait for each other: the na"
    assert num_to_heal(TOKENIZER.encode(prompt), 0, TRIE) > 0
    children = tuple(f"0.{i}" for i in range(4))

    def num_prefilled(heal: bool) -> int:
        with scripted_engine(num_merges=300) as engine:
            events_of(
                engine,
                (ROOT, [Text((prompt,)), Fork(children), Release()]),
                *((each, [bare("x", heal=heal), Release()]) for each in children),
            )
            engine.generate([prompt] * 5, max_tokens=3, heal=heal)
            events_of(engine, root([Text((prompt,)), Select("y", ("ab", "X"))]))
            events_of(engine, root([Text((prompt,)), bare("x", heal=heal, n=3)]))
            return engine.stats().prefilled

    assert num_prefilled(heal=True) <= num_prefilled(heal=False) + 2


def test_a_context_keeps_its_only_token(engine: Engine) -> None:
    one, other = (engine.generate("n", max_tokens=4, seed=1, heal=heal) for heal in (True, False))
    assert one.text == other.text


def test_the_budget_is_the_outputs_alone(engine: Engine) -> None:
    """A prompt that fills the context, and gens as long as their constraint at least takes."""
    constraint = sestina.choices(["ZZZ"])
    for prompt in ("The na", "The fox jum", "say {"):
        got = engine.generate(prompt, constraint=constraint, max_tokens=3, temperature=0)
        assert (got.text, got.finish_reason) == ("ZZZ", "grammar")
    with scripted_engine(num_merges=300, max_total_tokens=64) as small:
        prompt = "Z" * 53 + "Zna"
        room = 64 - len(TOKENIZER.encode(prompt))
        assert small.generate(prompt, max_tokens=room, ignore_eos=True).finish_reason == "length"


@given(st.lists(st.sampled_from(range(561)), min_size=1, max_size=5), st.integers(0, 5))
def test_what_tokens_say_after_some_bytes(ids: list[int], num_bytes: int) -> None:
    rest, others = text_after(TOKENIZER, ids, num_bytes)
    whole = spelled(ids)[num_bytes:].decode(errors="replace")
    assert rest + spelled(list(others)).decode(errors="replace") == whole


def test_a_tiny_model_is_healed_in_a_session_with_defaults() -> None:
    """`heal` travels as every sampling parameter does."""
    with tiny_engine(num_merges=300) as engine:
        off = SessionOptions(seed=1, defaults=SamplingParams(heal=False))
        ops: list[Op] = [Text(("The na",)), bare("x")]
        (by_default,) = (meta_of(answers(events_of(engine, root(ops), options=off))[1]),)
        (by_gen,) = (meta_of(answers(events_of(engine, root([ops[0], bare("x", heal=False)])))[1]),)
        assert by_default.ids == by_gen.ids
        assert by_default.sampled == by_gen.sampled


@pytest.mark.slow
def test_on_the_real_model() -> None:
    """The continuation is that of the text which the model has seen: "://" is one token."""
    if cached_model(MODEL) is None:
        pytest.skip(f"the model is not in the cache: sestina models pull {MODEL}")
    with Engine(MODEL, dtype="float32", check=True) as engine:
        prompts = ['The link is <a href="http:', "The url is http:"]
        for prompt, done in zip(
            prompts, engine.generate(prompts, max_tokens=8, temperature=0), strict=True
        ):
            assert done.text.startswith("//")
            tokens = engine.tokenizer.encode(prompt + done.text)
            assert tokens[-len(done.meta.ids) :] == list(done.meta.ids)
        spaced, plain = (
            engine.generate(f"The capital of France is{end}", max_tokens=5, temperature=0).text
            for end in (" ", "")
        )
        assert " " + spaced == plain
