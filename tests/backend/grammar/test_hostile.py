"""Hostile inputs get an answer or a clear error: never a crash, a hang, or memory without bound.

Each goes all the way: made, lowered, compiled over a vocabulary, and a few tokens taken through its
masks. Limits are counts of work, so nothing here looks at a clock.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sestina.backend.grammar import CompiledGrammar, GrammarCompiler
from sestina.lang.algebra import AnyOf, Constraint
from sestina.lang.constraint import choices, from_data, grammar, json_schema, regex
from sestina.lang.errors import ConstraintError
from sestina.lang.json_schema.keywords import ENFORCED
from sestina.lang.structural import thinking, triggered
from sestina.lang.tools import tool_calls

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = tomllib.loads((Path(__file__).parents[2] / "data/hostile.toml").read_text("utf-8"))
MAKERS: dict[str, Callable[[str], Constraint]] = {
    "regex": regex,
    "json_schema": json_schema,
    "grammar": grammar,
}
MAX_MEMORY = 600 << 20
MAX_MESSAGE_LEN = 10_000


@pytest.fixture
def compiler(tokenizer: Any) -> GrammarCompiler:
    return GrammarCompiler(tokenizer)


def outcome(make: Callable[[], Constraint], compiler: GrammarCompiler) -> str:
    """What becomes of a constraint: "walked", or the name of its error."""
    try:
        walk(compiler.compile(make()))
    except ConstraintError as caught:
        error = caught
    else:
        return "walked"
    assert len(str(error)) < MAX_MESSAGE_LEN
    return type(error).__name__


def walk(compiled: CompiledGrammar) -> None:
    """A few tokens through its masks, the first and the last allowed one in turn."""
    matcher = compiled.matcher()
    row = np.empty(compiled.trie.num_words, np.int32)
    for step in range(8):
        matcher.fill_mask(row)
        ids = np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist()
        ids = [token_id for token_id in ids if token_id not in compiled.trie.eos_ids]
        if not ids:
            assert matcher.is_accepting()
            break
        assert matcher.accept_token(ids[step % 2 * (len(ids) - 1)])
    assert compiled.memory_bytes() < MAX_MEMORY


def text_of(source: list[Any]) -> str:
    def pieces() -> Iterator[str]:
        for piece in source:
            if isinstance(piece, str):
                yield piece
            else:
                for i in range(piece["times"]):
                    yield piece["each"].replace("{i}", str(i)).replace("{n}", str(i + 1))

    return "".join(pieces())


CASES = [(kind, case) for kind in MAKERS for case in TABLE[kind]]


@pytest.mark.parametrize(("kind", "case"), CASES, ids=[case["name"] for _, case in CASES])
def test_sources(kind: str, case: dict[str, Any], compiler: GrammarCompiler) -> None:
    source = text_of(case["source"])
    assert outcome(lambda: MAKERS[kind](source), compiler) == case["outcome"]


# ---- what no source text says -----------------------------------------------------------------


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    return functools.reduce(lambda inner, _: wrap(inner), range(depth), {})


def itself() -> dict[str, Any]:
    """A schema object that contains itself."""
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    return schema


def explosive(n: int) -> Constraint:
    """The letter n from the end is an a: 2^n states."""
    return regex(f".*a.{{{n}}}")


OBJECTS: dict[str, tuple[Callable[[], Constraint], str]] = {
    "schema objects 10,000 deep": (
        lambda: json_schema(nested(10_000, lambda inner: {"items": inner})),
        "ConstraintLimitExceeded",
    ),
    "lists 10,000 deep": (
        lambda: json_schema({"enum": [nested(10_000, lambda inner: [inner])]}),
        "ConstraintLimitExceeded",
    ),
    "a schema that contains itself": (lambda: json_schema(itself()), "ConstraintLimitExceeded"),
    "a million values": (
        lambda: json_schema({"enum": list(range(1_000_000))}),
        "ConstraintLimitExceeded",
    ),
    "100,000 choices": (lambda: choices([f"choice {i}" for i in range(100_000)]), "walked"),
    "choices that begin with one another": (
        lambda: choices(["x" * i for i in range(3000)]),
        "walked",
    ),
    "a choice of 1 MB": (lambda: choices(["x" * 1_000_000, "y"]), "walked"),
    "the complement of too many states": (lambda: ~explosive(20), "walked"),
    "too many states at once": (lambda: explosive(20) & regex(".*b.{19}"), "walked"),
    "the complement of both": (lambda: ~(explosive(18) & regex(".*b.{17}")), "walked"),
    "the complement of 20,000 words": (
        lambda: ~choices([f"choice {i}" for i in range(20_000)]),
        "walked",
    ),
    "repeated by repetition": (
        lambda: regex("a|b").repeat(1, 1 << 20).repeat(1, 1 << 20).repeat(0, 1 << 20),
        "walked",
    ),
    "combined too deep": (
        lambda: functools.reduce(lambda all_, _: ~(all_ + "x"), range(100), regex("a")),
        "ConstraintLimitExceeded",
    ),
    "10,000 operands": (lambda: AnyOf(tuple(regex(f"a*{i}") for i in range(10_000))), "walked"),
    "received 10,000 deep": (
        lambda: from_data(nested(10_000, lambda each: {"kind": "complement", "item": each})),
        "ConstraintLimitExceeded",
    ),
    "thoughts of 2,000 characters": (
        lambda: thinking(regex("yes|no"), max_chars=2000),
        "walked",
    ),
    "1,000 tools": (
        lambda: tool_calls(
            [
                {"name": f"tool_{i}", "parameters": {"properties": {f"p{i}": {"type": "integer"}}}}
                for i in range(1000)
            ]
        ),
        "walked",
    ),
    "no triggers at all": (lambda: triggered([]), "InvalidConstraint"),
}


@pytest.mark.parametrize(("make", "expected"), OBJECTS.values(), ids=OBJECTS)
def test_objects(make: Callable[[], Constraint], expected: str, compiler: GrammarCompiler) -> None:
    assert outcome(make, compiler) == expected


WRONG = [None, True, -1, 1.5, "", "x", [], [1], [[]], {}, {"x": 1}, {"": None}, ["x", "x"], 10**9]


OTHERS = ("const", "$defs", "$id", "$anchor", "$schema", "title", "format")


@pytest.mark.parametrize("keyword", dict.fromkeys((*ENFORCED, *OTHERS)))
def test_keywords_of_any_type(keyword: str, compiler: GrammarCompiler) -> None:
    """A value of the wrong type is told, and nothing but a ConstraintError is ever raised."""
    found = set()
    for value in WRONG:
        for beside in ({}, {"type": ["object", "array", "string", "number"]}):
            for schema in ({keyword: value, **beside}, {"not": {keyword: value, **beside}}):
                found.add(outcome(functools.partial(json_schema, schema), compiler))
    assert "InvalidConstraint" in found or keyword in OTHERS
