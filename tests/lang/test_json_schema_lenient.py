"""The report of a schema, and what `lenient` drops."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.ir_matcher import accepts

from sestina.lang import errors
from sestina.lang.constraint import from_data, json_schema

REFUSED = {"pattern": r"(a)\1"}  # a back-reference is beyond any automaton

CASES: list[tuple[Any, tuple[str, ...], list[str], list[str]]] = [
    (
        {"properties": {"a": REFUSED, "b": {"type": "null"}}, "type": "object"},
        ("/properties/a pattern",),
        ['{"a":"x","b":null}'],
        ['{"b":1}'],
    ),
    (
        {"$ref": "#/$defs/x", "$defs": {"x": {"items": {"allOf": [{"type": "string"}, REFUSED]}}}},
        ("/$defs/x/items/allOf/1 pattern",),
        ['["b"]'],
        ["[1]"],
    ),
    ({"type": "array", "items": {"$ref": "http://x/y"}}, ("/items $ref",), ["[1]"], ["1"]),
    (
        {"oneOf": [{"type": "string", **REFUSED}, {"maxLength": 1}]},
        ("/oneOf/0 pattern",),
        ['"ab"', "1"],
        ['"a"'],
    ),
    (
        {"oneOf": [{"uniqueItems": True}, {"type": "array", "items": {"type": "integer"}}]},
        ("/ oneOf", "/oneOf/0 uniqueItems"),
        ["[1]", "[1,1]"],
        [],
    ),
]


@pytest.mark.parametrize(("schema", "refused", "taken", "left"), CASES)
def test_what_is_dropped_is_listed_and_the_rest_enforced(
    schema: Any, refused: tuple[str, ...], taken: list[str], left: list[str]
) -> None:
    with pytest.raises(errors.UnsupportedConstraint):
        json_schema(schema)
    constraint = json_schema(schema, lenient=True)
    assert constraint.report().refused == refused
    grammar = constraint.to_grammar()
    assert [t for t in taken + left if accepts(grammar, t)] == taken


def test_a_registry_document_is_left_alone() -> None:
    with pytest.raises(errors.UnsupportedConstraint):
        json_schema({"items": {"$ref": "x"}}, registry={"x": REFUSED})


def test_lenient_is_part_of_the_value_and_changes_nothing_else() -> None:
    strict, lenient = (json_schema({"type": "null"}, lenient=flag) for flag in (False, True))
    assert strict != lenient
    assert strict.to_grammar() == lenient.to_grammar()
    assert strict.report() == lenient.report()
    assert from_data(json.loads(json.dumps(lenient.to_data()))) == lenient


@pytest.mark.parametrize("schema", [{"type": "strnig"}, {"enum": []}, {"$ref": "#/nowhere"}])
def test_mistakes_and_contradictions_still_raise(schema: Any) -> None:
    with pytest.raises(errors.ConstraintError):
        json_schema(schema, lenient=True)


def test_report() -> None:
    schema = {"title": "T", "type": "string", "format": "x-mine", "maxLength": 3, "x-note": 1}
    report = json_schema({"items": schema}).report()
    assert report.enforced == ("/ items", "/items type", "/items maxLength")
    assert report.annotations == ("/items title", "/items format", "/items x-note")
    assert report.refused == ()
