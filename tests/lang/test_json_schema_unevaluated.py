"""unevaluatedProperties and unevaluatedItems beside every kind of branch, against a validator."""

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
LEAVES = st.sampled_from([True, {"const": 1}, {"type": "string"}, {"enum": [1, "s"]}])
UNEVALUATED = st.sampled_from([False, {"const": 1}, {"type": "string"}])


def branching(inner: st.SearchStrategy[Any], own: dict[str, Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    applicators = {
        "allOf": some,
        "anyOf": some,
        "oneOf": some,
        "if": inner,
        "then": inner,
        "else": inner,
        "not": inner,
        "dependentSchemas": st.dictionaries(NAMES, inner, max_size=2),
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
    }
    return st.fixed_dictionaries({}, optional={**own, **applicators}).map(
        lambda schema: {k: schema[k] for k in list(schema)[-4:]}
    )


OBJECT_KEYWORDS: dict[str, Any] = {
    "properties": st.dictionaries(NAMES, LEAVES, min_size=1, max_size=2),
    "required": st.lists(NAMES, min_size=1, max_size=1),
    "patternProperties": st.dictionaries(st.sampled_from(["a", "[bc]"]), LEAVES, max_size=1),
    "additionalProperties": LEAVES,
    "unevaluatedProperties": UNEVALUATED,
}
ARRAY_KEYWORDS: dict[str, Any] = {
    "prefixItems": st.lists(LEAVES, min_size=1, max_size=3),
    "items": LEAVES,
    "contains": LEAVES,
    "minItems": st.integers(0, 2),
    "unevaluatedItems": UNEVALUATED,
}

DATA = st.sampled_from([1, 2, "s", "t"])
OBJECTS = st.dictionaries(NAMES, DATA, max_size=3)
ARRAYS = st.lists(DATA, max_size=4)


def schemas(own: dict[str, Any]) -> st.SearchStrategy[Any]:
    plain = st.fixed_dictionaries({}, optional=own)
    return st.recursive(plain, lambda inner: branching(inner, own), max_leaves=6)


def check(schema: Any, values: list[Any]) -> None:
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
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@SETTINGS
@given(schemas(OBJECT_KEYWORDS), UNEVALUATED, LEAVES, st.lists(OBJECTS, min_size=6, max_size=6))
def test_properties(schema: Any, other: Any, leaf: Any, values: list[Any]) -> None:
    defs = {
        "x": {"properties": {"a": leaf}},
        "y": {"anyOf": [{"required": ["b"], "properties": {"b": True}}, True]},
    }
    check({"type": "object", **schema, "unevaluatedProperties": other, "$defs": defs}, values)


@SETTINGS
@given(schemas(ARRAY_KEYWORDS), UNEVALUATED, LEAVES, st.lists(ARRAYS, min_size=6, max_size=6))
def test_items(schema: Any, other: Any, leaf: Any, values: list[Any]) -> None:
    defs = {
        "x": {"prefixItems": [leaf]},
        "y": {"anyOf": [{"minItems": 2, "prefixItems": [True, leaf]}, True]},
    }
    check({"type": "array", **schema, "unevaluatedItems": other, "$defs": defs}, values)


def test_many_independent_branches_are_refused() -> None:
    branches = [{"properties": {f"p{i}": True}} for i in range(20)]
    with pytest.raises(errors.UnsupportedConstraint) as caught:
        json_schema({"anyOf": branches, "unevaluatedProperties": False})
    assert caught.value.keyword == "unevaluatedProperties"


def test_many_exclusive_branches_are_not() -> None:
    branches = [
        {"properties": {"kind": {"const": i}, f"p{i}": True}, "required": ["kind"]}
        for i in range(60)
    ]
    schema = {"type": "object", "anyOf": branches, "unevaluatedProperties": False}
    grammar = json_schema(schema).to_grammar()
    assert accepts(grammar, '{"kind":7,"p7":null}')
    assert not accepts(grammar, '{"kind":7,"p8":null}')
