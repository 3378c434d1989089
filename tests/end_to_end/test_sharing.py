"""Every common prefix is computed once, and the books say so."""

from __future__ import annotations

from typing import Any

from support.engines import scripted_engine

import sestina
from sestina import Engine, SamplingParams, function, gen, user
from sestina.backend.cache.radix_tree import LEASE_TURNOVERS
from sestina.lang.ir import Gen, Text
from sestina.lang.session import ROOT, Done, SessionOptions
from sestina.lang.state import State

RECORD = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "ok": {"type": "boolean"}},
    "required": ["name", "ok"],
    "additionalProperties": False,
}
PREFIX = "".join(f"Rule {i}: read the document, then answer. " for i in range(16))[:600]


@function
def extract(s: State, document: str) -> None:
    s += PREFIX + document + gen("record", json_schema=RECORD, max_tokens=64, temperature=0.0)


def documents(count: int) -> list[dict[str, Any]]:
    return [{"document": f"{i:03d} is the number of this document."} for i in range(count)]


def test_a_batch_prefills_its_shared_prefix_once() -> None:
    """One token per byte here, so the prefix is 600 tokens exactly."""
    with scripted_engine(num_merges=0, max_total_tokens=16384) as engine:
        states = extract.run_batch(documents(16), backend=engine)
        assert all(state.error() is None for state in states)
        stats = engine.stats()
        document_len = len(documents(1)[0]["document"])
        # What follows the prefix differs from the first or second byte on.
        assert stats.prefilled <= 600 + 16 * document_len
        assert stats.cached >= 15 * 600
        assert stats.prefilled + stats.cached == 16 * (600 + document_len)


def test_a_second_run_finds_everything_cached() -> None:
    with scripted_engine(num_merges=0) as engine:
        first = extract.run(document="once", backend=engine)
        text = first.text()
        before = engine.stats()
        again = extract.run(document="once", backend=engine)
        assert again.text() == text
        after = engine.stats()
        # Logits are not cached, so the last token is computed again: one the grammar forces here.
        assert after.prefilled == before.prefilled
        assert after.cached - before.cached == len(PREFIX) + len("once")
        assert engine.flush_cache() > 0
        assert engine.stats().cached_slots == 0


def test_fork_shares_and_counts_its_prefix_once() -> None:
    @function
    def branches(s: State) -> None:
        s += PREFIX
        for i, branch in enumerate(s.fork(4)):
            branch += f" branch {i}: " + gen("x", max_tokens=4, ignore_eos=True)

    with scripted_engine(num_merges=0) as engine:
        branches.run(backend=engine).sync()
        assert engine.stats().prefilled <= 600 + 4 * len(" branch 0: ")


def test_n_continuations_share_their_prompt() -> None:
    with scripted_engine(num_merges=0) as engine:
        completion = engine.generate(PREFIX, n=5, max_tokens=6, ignore_eos=True)
        assert len(set(completion.texts)) == 5, "distinct seeds"
        assert engine.stats().prefilled <= 600 + 5


def test_namespaces_share_nothing() -> None:
    with scripted_engine(num_merges=0) as engine:
        extract.run(document="x", backend=engine, namespace="a").sync()
        before = engine.stats()
        extract.run(document="x", backend=engine, namespace="b").sync()
        assert engine.stats().cached == before.cached


def test_turns_keep_the_tokens_of_what_was_generated() -> None:
    @function
    def talk(s: State) -> None:
        for i in range(4):
            s += user(f"Question {i}?") + sestina.assistant(gen(f"a{i}", max_tokens=8))

    with scripted_engine(num_merges=0) as engine:
        talk.run(backend=engine).sync()
        opening = "<|im_start|>user\nQuestion 0?<|im_end|>\n<|im_start|>assistant\n"
        closing = "<|im_end|>\n"
        num_opening = len(engine.tokenizer.encode(opening, allow_control=True))
        num_closing = len(engine.tokenizer.encode(closing, allow_control=True))
        # Nothing comes after the last answer, so what closes its turn is never computed.
        assert engine.stats().prefilled == 4 * num_opening + 3 * num_closing


def flood(engine: Engine, numbers: range) -> None:
    """Fill the cache with what nobody needs again, one prompt of 100 tokens at a time."""
    for i in numbers:
        engine.generate(f"{i:04}" * 25, max_tokens=0)


def test_a_program_that_waits_for_a_tool_keeps_its_cache() -> None:
    with scripted_engine(num_merges=0, max_total_tokens=2000, max_running=4) as engine:
        session = engine.open(SessionOptions(seed=0))
        events = session.events()

        def num_prefilled(text: str) -> int:
            gen = Gen("x", SamplingParams.of({"max_tokens": 4, "ignore_eos": True}))
            session.submit(ROOT, [Text((text,)), gen])
            return next(e.meta[0].prefilled for e in events if isinstance(e, Done) and e.meta)

        assert num_prefilled(PREFIX) == 600
        flood(engine, range(30))
        assert engine.stats().num_evicted > 1000
        assert num_prefilled("The tool says so.") == 17, "newer prefixes went first"
        flood(engine, range(30, 30 + 2 * LEASE_TURNOVERS * 20))
        assert num_prefilled("And so.") == 600 + 17 + 7, "a lease decays"
        session.close()
        engine.stats()  # comes after the end of the session
        assert engine._core.scheduler.cache.tree.num_leased == 0
