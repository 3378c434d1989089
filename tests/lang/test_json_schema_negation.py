"""Negations of what is said about all properties or items, against a validator."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import errors
from sestina.lang.constraint import json_schema
from sestina.lang.grammar_ir import NOTHING, Grammar
from sestina.lang.json_schema.overlap import overlapping
from sestina.lang.json_schema.refs import follow

jsonschema = pytest.importorskip("jsonschema")

NAMES = st.sampled_from("abc")
PATTERNS = st.sampled_from(["a", "[bc]", "^b$"])
LEAVES = st.sampled_from([True, False, {"const": 1}, {"type": "string"}, {"enum": [1, "s"]}])
NAMED = st.sampled_from([{"enum": ["a", "c"]}, {"pattern": "[ab]"}, {"const": "b"}, True, False])

OBJECT = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.dictionaries(NAMES, LEAVES, min_size=1, max_size=2),
        "patternProperties": st.dictionaries(PATTERNS, LEAVES, min_size=1, max_size=2),
        "additionalProperties": LEAVES,
        "propertyNames": NAMED,
        "required": st.lists(NAMES, max_size=2, unique=True),
    },
)
ARRAY = st.fixed_dictionaries(
    {},
    optional={
        "prefixItems": st.lists(LEAVES, min_size=1, max_size=2),
        "items": LEAVES,
        "contains": LEAVES,
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(1, 3),
    },
)


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=2)
    return st.one_of(
        inner.map(lambda s: {"not": s}),
        some.map(lambda s: {"oneOf": s}),
        some.map(lambda s: {"allOf": s}),
        st.tuples(inner, inner).map(lambda p: {**p[0], "not": p[1]}),
        st.tuples(inner, inner, inner).map(lambda p: {"if": p[0], "then": p[1], "else": p[2]}),
    )


OBJECT_SCHEMAS = st.recursive(OBJECT, combined, max_leaves=3)
ARRAY_SCHEMAS = st.recursive(ARRAY, combined, max_leaves=3)
DATA = st.sampled_from([1, 2, "s"])


def check(schema: Any, values: list[Any]) -> None:
    """A value is valid iff some order of its properties is in the language."""
    validator = jsonschema.Draft202012Validator(schema)
    try:
        grammar = json_schema(schema).to_grammar()
    except errors.UnsatisfiableConstraint:
        grammar = Grammar(NOTHING)
    except errors.ConstraintError:
        return
    for value in values:
        taken = [accepts(grammar, json.dumps(one)) for one in orders(value)]
        assert any(taken) == validator.is_valid(value), value


def orders(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return [value]
    return [dict(pairs) for pairs in itertools.permutations(value.items())]


SETTINGS = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@SETTINGS
@given(OBJECT_SCHEMAS, st.lists(st.dictionaries(NAMES, DATA, max_size=3), min_size=6, max_size=6))
def test_objects(schema: Any, values: list[Any]) -> None:
    check({"type": "object", "not": schema}, values)


@SETTINGS
@given(ARRAY_SCHEMAS, st.lists(st.lists(DATA, max_size=4), min_size=6, max_size=6))
def test_arrays(schema: Any, values: list[Any]) -> None:
    check({"type": "array", "not": schema}, values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"x":1}', True),
        ('{"x":null}', False),
        ('{"x":1,"x":null}', False),  # what counts is the last one
        ('{"x":null,"x":1}', True),
        ('{"y":null,"x":1}', True),
    ],
)
def test_a_witness_is_not_overwritten(text: str, expected: bool) -> None:
    schema = {"type": "object", "not": {"additionalProperties": {"type": "null"}}}
    assert accepts(json_schema(schema).to_grammar(), text) == expected


def nested_one_of(depth: int) -> Any:
    schema: Any = {"type": "string"}
    for i in range(depth):
        schema = {"oneOf": [schema, {"type": "integer", "minimum": i}]}
    return schema


@pytest.mark.parametrize("depth", [4, 8, 14, 16])
def test_nested_one_of_gives_an_answer_or_a_limit(depth: int) -> None:
    """Each level doubles what a careless rewriting makes of it."""
    try:
        grammar = json_schema(nested_one_of(depth)).to_grammar()
    except errors.ConstraintLimitExceeded:
        assert depth > 8
    else:
        assert accepts(grammar, '"a"')
        assert not accepts(grammar, str(depth))  # it would be valid at every level


def tagged(num: int) -> list[Any]:
    """Branches with a tag each, and one that forgot to say which one it is."""
    found: list[Any] = [
        {
            "type": "object",
            "properties": {"tag": {"const": f"t{i}"}, "a": {"type": "integer"}, f"b{i}": True},
            "required": ["tag", f"b{i}"],
        }
        for i in range(num)
    ]
    return [*found, {"type": "object", "required": ["tag"], "properties": {"c": {"const": 1}}}]


def test_negations_of_tagged_branches_do_not_multiply() -> None:
    grammar = json_schema({"oneOf": tagged(12)}).to_grammar()
    assert accepts(grammar, '{"tag":"t3"}')
    assert accepts(grammar, '{"tag":"t3","c":2,"b3":0}') or accepts(
        grammar, '{"tag":"t3","b3":0,"c":2}'
    )
    assert not accepts(grammar, '{"tag":"t3","b3":0}')
    assert accepts(grammar, '{"tag":"other"}')


def by_pattern(pattern: str) -> Any:
    """A branch that a pattern tells from its like, of the kinds that all have in common."""
    return {"allOf": [{"$ref": "#/$defs/kinds"}, {"properties": {"kind": {"pattern": pattern}}}]}


def test_branches_are_told_apart_by_the_constants_that_their_patterns_leave() -> None:
    kinds = {"type": "object", "properties": {"kind": {"enum": ["one", "two"]}}}
    kinds |= {"required": ["kind"], "additionalProperties": False}
    schema = {"$defs": {"kinds": kinds}}

    def pairs(*patterns: str) -> Any:
        branches = [by_pattern(pattern) for pattern in patterns]
        return overlapping(lambda ref, at: follow(schema, ref, at), branches, "", {})

    assert pairs("one", "two", "^tw") == [(1, 2)]
    assert pairs("o", "one") == [(0, 1)]
    grammar = json_schema({**schema, "oneOf": [by_pattern("o"), by_pattern("one")]}).to_grammar()
    assert accepts(grammar, '{"kind":"two"}')
    assert not accepts(grammar, '{"kind":"one"}')


def test_constants_under_doubling_references_are_checked_once_each() -> None:
    deep: Any = 1
    for _ in range(30):
        deep = {"a": deep}
    down = {"properties": {"a": {"$ref": "#/$defs/x"}}}
    schema = {"enum": [deep], "$ref": "#/$defs/x", "$defs": {"x": {"allOf": [down, {**down}]}}}
    assert accepts(json_schema(schema).to_grammar(), json.dumps(deep))


def test_many_branches_that_overlap_are_told_apart_by_what_they_require() -> None:
    """All ways in which each is not one of the others would be millions."""
    kinds = [f"kind{i}" for i in range(10)]
    branches = [
        {
            "type": "object",
            "properties": {kind: {"type": "string"}, "name": {"type": "string"}, f"x{kind}": {}},
            "required": ["name", kind],
        }
        for kind in kinds
    ]
    grammar = json_schema({"oneOf": branches}, property_order="any").to_grammar()
    assert accepts(grammar, '{"kind3":"a","name":"b","xkind4":1}')
    for text in ('{"kind3":"a"}', '{"kind3":"a","name":"b","kind4":"c"}', '{"name":"b"}'):
        assert not accepts(grammar, text)
