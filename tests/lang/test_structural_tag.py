"""Structural tags of other engines: what each format accepts, and what is refused where."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sestina.backend.grammar import compile_automaton, compile_grammar
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.lang import constraint as c
from sestina.lang import errors
from sestina.lang.constraint import Constraint
from sestina.lang.structural_tag import structural_tag

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CASES = tomllib.loads(
    (Path(__file__).parents[1] / "data/structural_tags.toml").read_text(encoding="utf-8")
)


def accepted(constraint: Constraint, texts: list[str]) -> list[str]:
    automaton = compile_automaton(constraint.to_grammar())
    ends = [(text, automaton.advance(automaton.start, text.encode())) for text in texts]
    return [text for text, state in ends if state and automaton.is_accepting(state)]


@pytest.mark.parametrize("case", CASES["tag"], ids=lambda case: case["name"])
def test_formats(case: dict[str, Any]) -> None:
    data = {"type": "structural_tag", "format": case["format"]}
    constraint = structural_tag(data)
    assert accepted(constraint, case["good"] + case["bad"]) == case["good"]
    assert structural_tag(json.dumps(data)) == constraint
    assert c.from_data(constraint.to_data()) == constraint


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: str(case["format"])[:70])
def test_refused(case: dict[str, Any]) -> None:
    kind = getattr(errors, case["error"])
    with pytest.raises(kind) as raised:
        structural_tag({"type": "structural_tag", "format": case["format"]})
    assert type(raised.value) is kind
    assert raised.value.pointer == case["pointer"]
    if "keyword" in case:
        assert raised.value.keyword == case["keyword"]


LEGACY = {
    "type": "structural_tag",
    "structures": [
        {"begin": "<function=f>", "schema": {"type": "integer"}, "end": "</function>"},
        {"begin": "<function=g>", "schema": '{"const": null}', "end": "</function>"},
    ],
    "triggers": ["<function="],
}


def test_the_older_form() -> None:
    good = ["", "hi <function=f>1</function>", "<function=g>null</function> bye"]
    bad = ["<function=f>null</function>", "<function=h>", "<function=f>1"]
    assert accepted(structural_tag(LEGACY), good + bad) == good


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"structures": [{"begin": "<f>", "schema": "{", "end": ""}]}, "/structures/0/schema"),
        ({"structures": [{"begin": "a", "schema": {}, "end": "b", "x": 1}]}, "/structures/0"),
        ({"structures": [{"begin": "a", "end": "b"}]}, "/structures/0"),
        ({"structures": []}, "/triggers"),
        ({"triggers": ["<x"]}, "/triggers"),
        ({"triggers": "<function="}, ""),
        ({"triggers": [1]}, ""),
        ({"more": 1}, ""),
        ({"type": "json_schema"}, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_older_form(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(errors.ConstraintError) as raised:
        structural_tag({**LEGACY, **change})
    assert raised.value.pointer == pointer


@pytest.mark.parametrize("data", ["", "[]", "{}", '{"type": "structural_tag"}', [], 3, None])
def test_malformed(data: Any) -> None:
    with pytest.raises(errors.InvalidConstraint):
        structural_tag(data)


def test_deep_formats_are_a_limit() -> None:
    data: dict[str, Any] = {"type": "any_text"}
    for _ in range(120):
        data = {"type": "optional", "content": data}
    with pytest.raises(errors.ConstraintLimitExceeded):
        structural_tag({"type": "structural_tag", "format": data})


def test_tokens_as_markers() -> None:
    def token(name: str) -> dict[str, str]:
        return {"type": "token", "token": name}

    tag = {
        "type": "tag",
        "begin": token("<|im_start|>"),
        "content": {"type": "sequence", "elements": [token("<|bos|>"), {"type": "any_text"}]},
        "end": token("<|pad|>"),
    }
    tokenizer = ByteTokenizer()
    ids = tokenizer.control_ids
    constraint = structural_tag({"type": "structural_tag", "format": tag})
    matcher = compile_grammar(constraint.to_grammar(), tokenizer).matcher()
    for token_id in (ids["<|im_start|>"], ids["<|bos|>"], *b"any <|pad|>", ids["<|pad|>"]):
        assert matcher.accept_token(token_id)
    assert matcher.is_complete()


def test_whitespace_is_that_of_the_schema() -> None:
    inner = {"type": "json_schema", "json_schema": {"const": [1, 2]}}
    data = {"type": "structural_tag", "format": inner}
    texts = ["[1, 2]", "[1,2]"]
    assert accepted(structural_tag(data), texts) == texts
    assert accepted(structural_tag(data, whitespace="compact"), texts) == texts[1:]
