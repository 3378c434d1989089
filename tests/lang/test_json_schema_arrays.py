"""Arrays against the `jsonschema` package: counted items, several `contains`, different items."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import json_schema

jsonschema = pytest.importorskip("jsonschema")

SLOW = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
VALUES = st.sampled_from([None, True, False, 0, 1, 2, "a", "b", "", [], [1], {}, {"a": 1}])
ARRAYS = st.lists(VALUES, max_size=5)
SMALL = st.integers(0, 3)


def compiled(schema: Any) -> ir.Grammar:
    try:
        return json_schema(schema).to_grammar()
    except errors.UnsatisfiableConstraint:
        return ir.Grammar(ir.NOTHING)


def check(schema: Any, values: list[Any]) -> None:
    grammar = compiled(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for value in values:
        text = json.dumps(value, ensure_ascii=False)
        assert accepts(grammar, text) == validator.is_valid(value), text


# ---- contains ---------------------------------------------------------------------------------

ITEMS = st.sampled_from(
    [
        *({"type": t} for t in ("integer", "string", "boolean", "array", ["null", "string"])),
        *(True, {"const": 1}, {"enum": [0, 1, "a"]}, {"minimum": 1}, {"maxLength": 0}),
    ]
)
SIZES = st.fixed_dictionaries({}, optional={"minItems": SMALL, "maxItems": SMALL})
CONTAINS = st.fixed_dictionaries(
    {"contains": ITEMS}, optional={"minContains": SMALL, "maxContains": SMALL}
)
SHAPES = st.fixed_dictionaries(
    {}, optional={"items": ITEMS, "prefixItems": st.lists(ITEMS, min_size=1, max_size=2)}
)


@SLOW
@given(SHAPES, SIZES, st.lists(CONTAINS, min_size=1, max_size=3), st.lists(ARRAYS, min_size=5))
def test_several_contains_each_with_bounds(
    shape: Any, sizes: Any, wanted: list[Any], values: list[Any]
) -> None:
    check({"type": "array", **shape, **sizes, "allOf": wanted}, values)


def test_contains_far_into_an_array() -> None:
    schema = {"type": "array", "minItems": 150, "contains": {"const": 1}, "minContains": 3}
    grammar = compiled({**schema, "items": {"type": "integer"}})
    for ones in (2, 3, 200):
        text = json.dumps([0] * 149 + [1] * ones)
        assert accepts(grammar, text) == (ones >= 3)


def test_many_positions_are_no_recursion() -> None:
    wanted = [{"contains": {"const": i}, "minContains": 2} for i in range(2)]
    grammar = compiled({"type": "array", "maxItems": 300, "allOf": wanted})
    assert accepts(grammar, "[1,0,1,0]")
    assert not accepts(grammar, "[1,0,1]")


def test_contains_with_bounds_beyond_the_limit_is_refused() -> None:
    with pytest.raises(errors.UnsupportedConstraint) as caught:
        json_schema({"type": "array", "contains": {"const": 1}, "minContains": 10_000})
    assert (caught.value.pointer, caught.value.keyword) == ("", "contains")


# ---- uniqueItems ------------------------------------------------------------------------------

FINITE = st.sampled_from(
    [
        *({"enum": [1, "a", None]}, {"enum": [0, 1, 1.0, 2]}, {"const": "a"}, {"type": "boolean"}),
        *({"type": ["null", "boolean"]}, {"type": "integer", "minimum": 0, "maximum": 2}),
        {"oneOf": [{"const": "a"}, {"const": "b"}, {"type": "null"}]},
        {"anyOf": [{"enum": [1, 2]}, {"enum": [2, "b", True]}]},
        {"type": "string", "anyOf": [{"enum": ["a", 1]}, {"enum": ["b", "a"]}]},
        {"allOf": [{"enum": [0, 1, "a", [1]]}, {"not": {"type": "string"}}]},
        *({"enum": [[], [1], {}, {"a": 1}]}, False),
    ]
)
OPEN = st.sampled_from([{"type": "string"}, {"type": "integer"}, {"type": "array"}])


@SLOW
@given(FINITE, SIZES, st.lists(ARRAYS, min_size=5))
def test_different_constants(item: Any, sizes: Any, values: list[Any]) -> None:
    check({"type": "array", "items": item, "uniqueItems": True, **sizes}, values)


@st.composite
def tuples(draw: st.DrawFn) -> list[Any]:
    """Constants, and other types of which no two positions have the same."""
    finite = draw(st.lists(FINITE, max_size=2))
    others = draw(st.lists(OPEN, max_size=2, unique_by=str))
    return draw(st.permutations([*finite, *others]))


@SLOW
@given(tuples(), FINITE, SIZES, st.lists(ARRAYS, min_size=5))
def test_different_items_of_a_tuple(
    first: list[Any], rest: Any, sizes: Any, values: list[Any]
) -> None:
    schema = {"type": "array", "items": rest, "uniqueItems": True, **sizes}
    check({**schema, "prefixItems": first} if first else schema, values)


def test_at_most_one_item_differs_from_all_others() -> None:
    check({"type": "array", "uniqueItems": True, "maxItems": 1}, [[], ["a"], [{}], ["a", "b"]])


def test_no_spelling_makes_equal_constants_different() -> None:
    schema = {"uniqueItems": True, "items": {"enum": [1, 1.0, {"a": 1, "b": 2}, {"b": 2, "a": 1}]}}
    for order in ("declared", "any"):
        grammar = json_schema({"type": "array", **schema}, property_order=order).to_grammar()
        assert accepts(grammar, '[1.0,{"b":2,"a":1}]')
        assert not accepts(grammar, "[1,1.0]")
        assert not accepts(grammar, '[{"a":1,"b":2},{"b":2,"a":1}]')


REFUSED = [
    {"items": {"type": "string"}},
    {"prefixItems": [{"type": "string"}, {"minLength": 1}], "items": False},
    {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
    {"prefixItems": [{"enum": list(range(20))}] * 40, "items": False},
    {"items": {"type": "string"}, "contains": {"const": "a"}},
]


def test_many_constants_in_any_order() -> None:
    schema = {"type": "array", "uniqueItems": True, "items": {"enum": list(range(100))}}
    grammar = json_schema(schema).to_grammar()
    assert accepts(grammar, json.dumps([*range(50, 100), *range(50)]))
    assert not accepts(grammar, json.dumps([*range(50, 100), 77]))


@pytest.mark.parametrize("keywords", REFUSED, ids=lambda k: json.dumps(k)[:60])
def test_items_that_no_finite_memory_tells_apart_are_refused(keywords: Any) -> None:
    schema = {"properties": {"a": {"type": "array", "uniqueItems": True, **keywords}}}
    with pytest.raises(errors.ConstraintError) as caught:
        json_schema(schema)
    assert (caught.value.pointer, caught.value.keyword) == ("/properties/a", "uniqueItems")
