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
