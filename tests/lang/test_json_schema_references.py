"""References by URI, anchor and dynamic scope, and what each draft makes of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import errors
from sestina.lang.constraint import from_data, json_schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = tomllib.loads((Path(__file__).parents[1] / "data/json_schema_references.toml").read_text())


@pytest.mark.parametrize("case", TABLE["case"], ids=lambda case: case["name"])
def test_table(case: dict[str, Any]) -> None:
    grammar = json_schema(case["schema"], registry=case.get("registry", {})).to_grammar()
    texts = case["accepts"] + case["rejects"]
    assert [t for t in texts if accepts(grammar, t)] == case["accepts"]


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: case["name"])
def test_refusals_name_the_place(case: dict[str, Any]) -> None:
    with pytest.raises(errors.ConstraintError, match=case["says"].replace("$", r"\$")) as caught:
        json_schema(case["schema"], registry=case.get("registry", {}))
    assert type(caught.value).__name__ == case["kind"]
    assert caught.value.pointer == case.get("pointer")


def test_the_registry_is_part_of_the_value() -> None:
    registry = {"b": {"type": "null"}, "a": True}
    constraint = json_schema({"$ref": "b"}, registry=registry)
    assert constraint.registry == (("a", "true"), ("b", '{"type":"null"}'))
    assert from_data(json.loads(json.dumps(constraint.to_data()))) == constraint


def test_as_many_scopes_as_resources_are_a_limit_not_a_hang() -> None:
    """Each resource is entered in many scopes: 24 anchors, in any set of them."""
    names = [f"a{i}" for i in range(24)]
    resources = {
        f"r{i}": {
            "$id": f"r{i}",
            "anyOf": [{"$ref": other} for other in (f"s{i}", f"r{i + 1}", "leaf")],
            "$defs": {
                "x": {"$id": f"s{i}", "$ref": f"r{i + 1}", "$defs": {"d": {"$dynamicAnchor": name}}}
            },
        }
        for i, name in enumerate(names)
    }
    leaves = {"leaf": {"$id": "leaf", "$dynamicRef": "#a0", "$dynamicAnchor": "a0"}}
    last = {"r24": {"$id": "r24", "$ref": "leaf"}}
    schema = {"$id": "http://x/", "$ref": "r0", "$defs": {**resources, **leaves, **last}}
    with pytest.raises(errors.ConstraintLimitExceeded):
        json_schema(schema)


NAMES = st.sampled_from("abc")


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    """A few resources that refer to each other's anchors, plain and dynamic, from below items."""
    kinds = st.sampled_from(["$anchor", "$dynamicAnchor"])
    types = st.sampled_from(["string", "null", "array"])
    found = {}
    for name in "abc":
        target = f"{draw(st.sampled_from(['', 'a', 'b', 'c']))}#{draw(NAMES)}"
        anchored: dict[str, Any] = {"type": draw(types)}
        if anchored["type"] == "array":
            keyword = draw(st.sampled_from(["$ref", "$dynamicRef"]))
            anchored["items"] = {keyword: target}
        found[name] = {
            "$id": name,
            "items": {draw(st.sampled_from(["$ref", "$dynamicRef"])): f"#{name}"},
            "$defs": {"d": {draw(kinds): name, **anchored}},
        }
        other = draw(NAMES)
        if other != name:
            found[name]["$defs"]["e"] = {draw(kinds): other, "type": draw(types)}
    return {"$id": "http://x/", "$ref": draw(NAMES), "$defs": found}


VALUES = st.recursive(
    st.none() | st.just("s") | st.just(1), lambda inner: st.lists(inner, max_size=2), max_leaves=4
)


@settings(deadline=None, max_examples=200)
@given(resources(), st.lists(VALUES, min_size=4, max_size=8))
def test_dynamic_scopes_are_those_of_a_validator(schema: Any, values: list[Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema)
    try:
        grammar = json_schema(schema).to_grammar()
    except errors.InvalidConstraint:
        return
    for value in values:
        try:
            is_valid = validator.is_valid(value)
        except jsonschema.exceptions._WrappedReferencingError:
            continue
        assert accepts(grammar, json.dumps(value)) == is_valid
