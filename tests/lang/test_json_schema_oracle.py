"""Random small schemas against the `jsonschema` package: what is accepted is valid, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang.constraint import json_schema
from sestina.lang.errors import ConstraintError

jsonschema = pytest.importorskip("jsonschema")

NAMES = st.sampled_from(["a", "b", "ab", "x1"])
PATTERNS = st.sampled_from(["^a", "b$", "^x[0-9]$", "1", "."])
CONSTANTS = st.sampled_from([None, True, 0, 1, 2, -3, 1.5, "", "a", "ab", [], [1], {}, {"a": 1}])
SMALL = st.integers(0, 3)


def keyword_sets(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    named = st.dictionaries(NAMES, inner, max_size=2)
    some = st.lists(inner, min_size=1, max_size=2)
    names = st.lists(NAMES, max_size=2, unique=True)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "integer", "number", "string"]),
            "enum": st.lists(CONSTANTS, min_size=1, max_size=3),
            "const": CONSTANTS,
            "minimum": SMALL,
            "exclusiveMaximum": SMALL,
            "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
            "minLength": SMALL,
            "maxLength": SMALL,
            "pattern": PATTERNS,
            "items": inner,
            "prefixItems": some,
            "minItems": SMALL,
            "maxItems": SMALL,
            "uniqueItems": st.booleans(),
            "contains": inner,
            "minContains": SMALL,
            "maxContains": SMALL,
            "properties": named,
            "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
            "additionalProperties": inner,
            "propertyNames": inner,
            "required": names,
            "minProperties": SMALL,
            "maxProperties": SMALL,
            "dependentRequired": st.dictionaries(NAMES, names, max_size=1),
            "dependentSchemas": st.dictionaries(NAMES, inner, max_size=1),
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "allOf": some,
            "anyOf": some,
            "oneOf": some,
        },
    )


@st.composite
def few_keywords(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    """A schema of at most four keywords: more of them rarely allow anything."""
    found = draw(keyword_sets(inner))
    kept = draw(st.lists(st.sampled_from(sorted(found)), max_size=4)) if found else []
    return {keyword: found[keyword] for keyword in found if keyword in kept}


LEAVES = st.booleans() | st.sampled_from(
    [
        *({"type": t} for t in ("null", "boolean", "integer", "number", "string", "object")),
        *({"const": 1}, {"enum": ["a", 1, None]}, {"pattern": "^a"}, {"required": ["a"]}),
        *({"minimum": 1}, {"maxLength": 1}, {"minItems": 1}, {"multipleOf": 2}),
    ]
)
SCHEMAS = st.recursive(LEAVES, few_keywords, max_leaves=6)

VALUES = st.recursive(
    CONSTANTS | st.integers(-4, 6) | st.text("ab1x", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)


def spelled(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@settings(
    deadline=None,
    max_examples=500,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(SCHEMAS, st.lists(VALUES, min_size=4, max_size=8))
def test_what_is_accepted_is_valid(schema: Any, values: list[Any]) -> None:
    try:
        grammar = json_schema(schema).to_grammar()
    except ConstraintError:
        return
    validator = jsonschema.Draft202012Validator(schema)
    for value in values:
        taken = accepts(grammar, spelled(value))
        assert not taken or validator.is_valid(value), spelled(value)
        if not isinstance(value, (dict, list)):  # these have an order or parts that have one
            assert taken == validator.is_valid(value), spelled(value)
        elif not taken and validator.is_valid(value):
            assert has_order(value), spelled(value)


def has_order(value: Any) -> bool:
    """Whether some object inside has two properties, which may stand in the wrong order."""
    if isinstance(value, dict):
        return len(value) > 1 or any(map(has_order, value.values()))
    return isinstance(value, list) and any(map(has_order, value))
