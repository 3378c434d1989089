"""The demo's program against the reference loop, under greedy decoding with the same constraint."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.engines import tiny_engine

import sestina
from sestina import Engine, SamplingParams
from sestina.backend.grammar import compile_constraint
from sestina.backend.naive import generate_naively
from sestina.backend.tokenizer.template import chat_renderer
from sestina.backend.weights.fetch import cached_model
from sestina.lang.chat_template import ChatTurns

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "extract_demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks up the names in annotations
    spec.loader.exec_module(module)
    return module


def prompt_ids(engine: Engine, demo: ModuleType, kind: str, document: str) -> list[int]:
    """The demo's conversation, turn by turn: markup and contents tokenised apart."""
    tokenizer = engine.tokenizer
    turns = ChatTurns(chat_renderer(tokenizer))
    contents = [
        ("system", demo.INSTRUCTIONS),
        ("user", f"{document}\n\nWrite the {kind} record of this document."),
    ]
    ids: list[int] = []
    history: list[dict[str, str]] = []
    for role, content in contents:
        prefix, suffix = turns.markup(history, role)
        ids += tokenizer.encode(prefix, allow_control=True)
        ids += tokenizer.encode(content)
        ids += tokenizer.encode(suffix, allow_control=True)
        history.append({"role": role})
    return ids + tokenizer.encode(turns.markup(history, "assistant").prefix, allow_control=True)


def check(engine: Engine, demo: ModuleType, names: list[str], max_tokens: int) -> None:
    documents = [(EXAMPLES / "data" / f"{name}.txt").read_text("utf-8") for name in names]
    kinds = [name.split("_")[0] for name in names]
    batch = [{"kind": k, "document": d} for k, d in zip(kinds, documents, strict=True)]
    states = demo.read_document.run_batch(batch, backend=engine)
    for kind, document, state in zip(kinds, documents, states, strict=True):
        wanted = generate_naively(
            engine.model.model,
            engine.tokenizer,
            prompt_ids(engine, demo, kind, document),
            SamplingParams(temperature=0, max_tokens=max_tokens),
            grammar=compile_constraint(sestina.json_schema(demo.RECORDS[kind]), engine.tokenizer),
        )
        got = state.get_meta_info("record")
        assert got.ids == wanted.ids
        assert got.finish_reason == wanted.finish_reason == "grammar"


def test_on_a_tiny_model(demo: ModuleType) -> None:
    """Two kinds side by side, with many merges so that forced runs and masks have work."""
    names = ["invoice_01", "product_02"]
    with tiny_engine(num_merges=300, max_len=8192, max_total_tokens=16384) as engine:
        check(engine, demo, names, max_tokens=400)


@pytest.mark.slow
def test_on_the_real_model(demo: ModuleType) -> None:
    """In float32: with bfloat16 weights, a batch rounds otherwise than one sequence alone does."""
    if cached_model(MODEL) is None:
        pytest.skip(f"the model is not in the cache: sestina models pull {MODEL}")
    with Engine(MODEL, dtype="float32", check=True) as engine:
        check(engine, demo, ["product_04"], max_tokens=400)
