"""Constraints as values: construction validates, equality and serialisation are by source."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from support.ir_matcher import accepts

from sestina.lang import constraint as c
from sestina.lang import errors

EXAMPLES = [
    c.regex(r"[a-z]+é"),
    c.json_schema({"type": "object", "properties": {"z": {"minimum": 0.1}, "a": True}}),
    c.json_schema('{"type": "integer"}', whitespace="compact"),
    c.choices(["yes", "no", ""]),
    c.grammar('start: "é" | "(" start ")"'),
    c.grammar('main ::= [^"]', syntax="gbnf", start="main"),
]


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: value.kind)
def test_data_round_trip(value: c.Constraint) -> None:
    data = json.loads(json.dumps(value.to_data()))
    again = c.from_data(data)
    assert again == value
    assert hash(again) == hash(value)
    assert again.to_grammar() == value.to_grammar()


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EXAMPLES[0].pattern = "b"  # type: ignore[attr-defined]


def test_lowering_is_shared_between_equal_values() -> None:
    assert c.regex("[xyz]{3}").to_grammar() is c.regex("[xyz]{3}").to_grammar()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "pickle"},
        {"kind": ["regex"]},
        {"kind": "regex"},
        {"kind": "regex", "pattern": "a", "x": 1},
        {"kind": "regex", "pattern": 3},
        {"kind": "regex", "pattern": "("},
        {"kind": "json_schema", "source": "{", "whitespace": "spaced"},
        {"kind": "json_schema", "source": "{}", "whitespace": 3},
        {"kind": "json_schema", "source": {}},
        {"kind": "choices", "options": []},
        {"kind": "choices", "options": "ab"},
        {"kind": "choices", "options": ["a", 1]},
        {"kind": "grammar"},
        {"kind": "grammar", "source": "start: a"},
        {"kind": "grammar", "source": 3},
        {"kind": "grammar", "source": 'start: "a"', "start": ["start"]},
        {"kind": "grammar", "source": 'start: "a"', "syntax": "ebnf"},
        {"kind": "grammar", "source": 'start: "a"', "syntax": None},
    ],
)
def test_hostile_data_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidConstraint):
        c.from_data(data)


def test_schema_sources_agree() -> None:
    schema = {"type": "array", "items": {"type": "number", "maximum": 0.1}}
    assert c.json_schema(schema) == c.json_schema(json.dumps(schema, indent=3))
    assert c.json_schema(True).source == "true"
    assert c.json_schema(int) == c.json_schema({"type": "integer"})


def test_property_order_is_the_users() -> None:
    schema = {"type": "object", "properties": {"b": {"const": 1}, "a": {"const": 2}}}
    grammar = c.json_schema(schema).to_grammar()
    assert accepts(grammar, '{"b":1,"a":2}')
    assert not accepts(grammar, '{"a":2,"b":1}')


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({1: 2}, "key"),
        ({"const": float("nan")}, "nan"),
        ({"const": {1, 2}}, "set"),
        ({"const": "\ud800"}, "surrogate"),
        ('{"const": NaN}', "NaN"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' occurs twice"),
        ("{'a': 1}", "not JSON"),
        ('{"const": "\\ud800"}', "surrogate"),
    ],
)
def test_what_is_no_json_is_no_schema(schema: Any, message: str) -> None:
    with pytest.raises(errors.InvalidConstraint, match=message):
        c.json_schema(schema)


def test_a_deep_dict_is_a_limit() -> None:
    schema: dict[str, Any] = {}
    for _ in range(20_000):
        schema = {"items": schema}
    with pytest.raises(errors.ConstraintLimitExceeded):
        c.json_schema(schema)
    while schema:  # freed by hand: a chain this long would recurse in the garbage collector
        schema = schema["items"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "at least one"),
        (["a", "a"], "'a' is listed twice"),
        ("ab", "list"),
        (["\udfff"], "sur"),
    ],
)
def test_bad_choices(options: Any, message: str) -> None:
    with pytest.raises(errors.InvalidConstraint, match=message):
        c.choices(options)


def test_choices_are_exactly_the_options() -> None:
    grammar = c.choices(["yes", "ye", ".*"]).to_grammar()
    assert [t for t in ("yes", "ye", ".*", "y", "", "x") if accepts(grammar, t)] == [
        "yes",
        "ye",
        ".*",
    ]


def test_a_grammar_in_either_notation() -> None:
    for source in ('start: "a" start | "é"', 'root ::= "a" root | "é"'):
        grammar = c.grammar(source).to_grammar()
        assert [t for t in ("é", "aaé", "a", "") if accepts(grammar, t)] == ["é", "aaé"]


def test_a_regex_that_is_not_text() -> None:
    with pytest.raises(errors.InvalidConstraint, match="surrogate"):
        c.regex("\ud800")
    with pytest.raises(errors.InvalidConstraint, match="string"):
        c.regex(b"a")  # type: ignore[arg-type]
