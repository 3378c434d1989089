"""Several rules that extra properties have to break, and several additionalProperties at once."""

from __future__ import annotations

from typing import Any

import pytest
from support.ir_matcher import accepts

from sestina.lang.constraint import json_schema

NO_TEXTS = {"not": {"additionalProperties": {"type": "string"}}}
NOT_ALL_A = {"not": {"propertyNames": {"pattern": "a"}}}
NOT_ALL_B = {"not": {"propertyNames": {"pattern": "b"}}}
FAMILIES = [
    {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": {"type": "null"}},
    {"patternProperties": {"a$": {"minimum": 5}}, "additionalProperties": {"maximum": 2}},
]


@pytest.mark.parametrize(
    ("parts", "text", "is_taken"),
    [
        ([NOT_ALL_A, NOT_ALL_B], '{"a": 1, "b": 1}', True),
        ([NOT_ALL_A, NOT_ALL_B], '{"b": 1, "a": 1}', True),
        ([NOT_ALL_A, NOT_ALL_B], '{"c": 1}', True),
        ([NOT_ALL_A, NOT_ALL_B], '{"ab": 1, "a": 1, "ab": 2, "b": 1}', True),
        ([NOT_ALL_A, NOT_ALL_B], '{"a": 1}', False),
        ([NOT_ALL_A, NOT_ALL_B], '{"ab": 1, "b": 1}', False),
        ([NOT_ALL_A, NOT_ALL_B, {"maxProperties": 1}], '{"a": 1, "b": 1}', False),
        ([NO_TEXTS, NOT_ALL_A], '{"a": 1, "b": "x"}', False),  # what breaks a rule comes last
        ([NO_TEXTS, NOT_ALL_A], '{"b": "x", "a": 1}', True),
        ([NO_TEXTS, NOT_ALL_A], '{"b": 1, "b": "x"}', False),
        ([NO_TEXTS, NOT_ALL_A], '{"b": "x", "b": 1}', True),
        (FAMILIES, '{"aa": 7}', True),
        (FAMILIES, '{"aa": 4}', False),
        (FAMILIES, '{"ab": 2}', True),
        (FAMILIES, '{"ab": 3}', False),
        (FAMILIES, '{"ba": null}', True),
        (FAMILIES, '{"ba": 7}', False),
        ([*FAMILIES, {"properties": {"ab": True}}], '{"ab": 3}', False),
        ([*FAMILIES, {"required": ["ab"]}], '{"ab": 2}', True),
        ([*FAMILIES, {"required": ["ab"]}], '{"ab": 3}', False),
    ],
)
def test_objects_of_all_parts(parts: list[Any], text: str, is_taken: bool) -> None:
    grammar = json_schema({"type": "object", "allOf": parts}).to_grammar()
    assert accepts(grammar, text) is is_taken
