"""JSON Schema to IR: tables, exact numbers, strings, layouts and limits."""

from __future__ import annotations

import datetime
import json
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import json_schema
from sestina.lang.expr import joined, seq
from sestina.lang.json_schema.keywords import ENFORCED
from sestina.lang.json_schema.number import Bounds, integer, number
from sestina.lang.json_schema.string import free, quoted, spelled

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = tomllib.loads((Path(__file__).parents[1] / "data/json_schemas.toml").read_text())


def grammar_of(schema: Any, whitespace: str = "spaced") -> ir.Grammar:
    return json_schema(schema, whitespace=whitespace).to_grammar()


@pytest.mark.parametrize("case", TABLE["case"], ids=lambda case: case["name"])
def test_table(case: dict[str, Any]) -> None:
    grammar = grammar_of(case["schema"])
    taken = [t for t in case["accepts"] + case["rejects"] if accepts(grammar, t)]
    assert taken == case["accepts"]
    for text in taken:
        json.loads(text)


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: case["schema"])
def test_refusals_name_the_place(case: dict[str, Any]) -> None:
    with pytest.raises(errors.ConstraintError) as caught:
        json_schema(case["schema"])
    found = caught.value
    assert type(found).__name__ == case["kind"]
    assert found.pointer == case.get("pointer")
    assert found.keyword == case.get("keyword")


# ---- numbers ----------------------------------------------------------------------------------

DECIMALS = st.one_of(
    st.decimals(min_value=-200, max_value=200, places=2),
    st.decimals(min_value=-2, max_value=2, places=4),
    st.integers(-1200, 1200).map(Decimal),
    st.integers(-(10**18), 10**18).map(Decimal),
)
SOME_BOUNDS = st.builds(Bounds, *[st.none() | DECIMALS] * 4)


@settings(deadline=None, max_examples=300)
@given(SOME_BOUNDS, st.lists(st.integers(-1300, 1300) | st.integers(), max_size=12))
def test_integer_bounds_are_exact(bounds: Bounds, values: list[int]) -> None:
    grammar = ir.Grammar(integer(bounds))
    near = [int(b) + d for b in bounds if b is not None for d in (-1, 0, 1)]
    for value in values + near:
        assert accepts(grammar, str(value)) == bounds.allow(Decimal(value))


@settings(deadline=None, max_examples=300)
@given(SOME_BOUNDS, st.lists(DECIMALS, max_size=8))
def test_number_bounds_are_exact(bounds: Bounds, values: list[Decimal]) -> None:
    assume(not bounds.is_free)
    grammar = ir.Grammar(number(bounds))
    near = [b + d for b in bounds if b is not None for d in map(Decimal, ("-.01", "0", ".001"))]
    for value in values + near:
        for spelling in {str(value), f"{value:f}", f"{value:.3f}"} - {"-0", "-0.0"}:
            value = Decimal(spelling)
            taken = accepts(grammar, spelling)
            assert taken == bounds.allow(value) or (not taken and within_an_ulp(value, bounds))


def within_an_ulp(value: Decimal, bounds: Bounds) -> bool:
    """Whether a double could not tell the value from an exclusive bound."""
    exclusive = [b for b in (bounds.exclusive_minimum, bounds.exclusive_maximum) if b is not None]
    return any(0 < abs(value - b) <= Decimal(math.ulp(float(b))) for b in exclusive)


@settings(deadline=None, max_examples=200)
@given(st.floats(-1e6, 1e6), st.text("0123456789", min_size=1, max_size=25))
def test_exclusive_bounds_hold_for_doubles_too(bound: float, digits: str) -> None:
    grammar = ir.Grammar(number(Bounds(exclusive_minimum=Decimal(repr(bound)))))
    written = f"{Decimal(repr(bound)):f}"
    spelling = written + ("" if "." in written else ".") + digits
    assert not accepts(grammar, spelling) or float(spelling) > bound


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.99999999999999999999", False), ("0.999999999999999", True), ("1", False), ("-0.0", True)],
)
def test_exclusive_maximum_one(text: str, expected: bool) -> None:
    assert accepts(grammar_of({"type": "number", "exclusiveMaximum": 1}), text) == expected


def test_positive_numbers_do_not_underflow() -> None:
    grammar = grammar_of({"type": "number", "exclusiveMinimum": 0})
    assert accepts(grammar, "0.0001")
    assert not accepts(grammar, "0." + "0" * 400 + "1")
    assert not any(accepts(grammar, text) for text in ("0", "0.0", "-1", "-0.5", "-0"))


@settings(deadline=None, max_examples=200)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_free_numbers_have_every_spelling_of_json(value: float) -> None:
    assert accepts(grammar_of({"type": "number"}), json.dumps(value))


def test_absurd_bounds_are_a_limit_not_a_hang() -> None:
    with pytest.raises(errors.ConstraintLimitExceeded):
        json_schema('{"type": "number", "minimum": 1e999999999}')


# ---- strings ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=8), st.integers(0, 4), st.integers(0, 8))
def test_lengths_count_code_points_in_any_spelling(text: str, low: int, high: int) -> None:
    grammar = ir.Grammar(free(low, high))
    for ascii_only in (True, False):
        spelling = json.dumps(text, ensure_ascii=ascii_only)
        assert accepts(grammar, spelling) == (low <= len(text) <= high)


@settings(deadline=None, max_examples=200)
@given(st.characters(exclude_categories=["Cs"]))
def test_each_character_has_one_canonical_spelling(char: str) -> None:
    grammar = ir.Grammar(spelled(((ord(char), ord(char)),)))
    assert accepts(grammar, json.dumps(char, ensure_ascii=False)[1:-1])
    every = ir.Grammar(seq(ir.Literal(b'"'), spelled(ir.ANY_CHAR), ir.Literal(b'"')))
    assert accepts(every, quoted(char).data)
    canonical_only = json.dumps(char) == json.dumps(char, ensure_ascii=False)
    assert accepts(every, json.dumps(char)) == canonical_only


@settings(deadline=None, max_examples=150)
@given(st.dates(), st.integers(-3, 3))
def test_dates_are_the_calendar(day: datetime.date, shift: int) -> None:
    grammar = grammar_of({"type": "string", "format": "date"})
    assert accepts(grammar, f'"{day.isoformat()}"')
    moved = f"{day.year:04}-{day.month:02}-{day.day + shift:02}"
    try:
        datetime.date(day.year, day.month, day.day + shift)
        exists = True
    except ValueError:
        exists = False
    assert accepts(grammar, f'"{moved}"') == exists


# ---- layout -----------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(VALUES)
def test_layouts_of_a_constant(value: Any) -> None:
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    spaced = json.dumps(value, ensure_ascii=False)
    indented = json.dumps(value, ensure_ascii=False, indent=2)
    taken = {
        mode: [accepts(grammar_of({"const": value}, mode), t) for t in (compact, spaced, indented)]
        for mode in ("compact", "spaced", "any(40)", "indent(2)")
    }
    assert taken["compact"] == [True, spaced == compact, indented == compact]
    assert taken["spaced"] == [True, True, indented in (compact, spaced)]
    assert taken["any(40)"] == [True, True, True]
    assert taken["indent(2)"] == [compact == indented, spaced == indented, True]


@settings(deadline=None, max_examples=100)
@given(VALUES)
def test_any_json_is_accepted_by_the_true_schema(value: Any) -> None:
    for mode, indent in (("spaced", None), ("any(40)", 3)):
        assert accepts(grammar_of(True, mode), json.dumps(value, ensure_ascii=False, indent=indent))


def test_indent_of_a_schema_is_that_of_json_dumps() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "integer"}},
            "b": {"type": "object", "properties": {"c": {"type": "null"}}},
        },
        "additionalProperties": False,
    }
    schema["properties"]["b"]["additionalProperties"] = False  # type: ignore[index]
    grammar = grammar_of(schema, "indent(4)")
    for value in ({}, {"a": []}, {"a": [1, 2], "b": {}}, {"b": {"c": None}}):
        assert accepts(grammar, json.dumps(value, indent=4))
        assert accepts(grammar, json.dumps(value)) == (value == {})


def test_indent_refuses_recursion() -> None:
    with pytest.raises(errors.ConstraintLimitExceeded, match="indent"):
        grammar_of({"items": {"$ref": "#"}}, "indent(2)")


@pytest.mark.parametrize(
    "mode", ["tight", "", "any(0)", "any(5000)", "indent", "indent(0)", "compact(2)"]
)
def test_unknown_whitespace(mode: str) -> None:
    with pytest.raises(errors.InvalidConstraint, match="whitespace"):
        grammar_of(True, mode)


def test_whitespace_any_is_bounded() -> None:
    grammar = grammar_of({"const": [1]}, "any")
    assert accepts(grammar, "[" + " " * 20 + "1]")
    assert not accepts(grammar, "[" + " " * 21 + "1]")
    assert not accepts(grammar, " [1]")


# ---- size and limits --------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(st.lists(st.booleans(), max_size=6), st.integers(0, 63))
def test_joined_members(optional: list[bool], chosen: int) -> None:
    members = [(ir.literal(str(i)), may_skip) for i, may_skip in enumerate(optional)]
    body, may_be_empty = joined(members, ir.literal(","))
    present = [i for i in range(len(optional)) if chosen >> i & 1]
    allowed = all(may_skip or i in present for i, may_skip in enumerate(optional))
    if present:
        assert accepts(ir.Grammar(body), ",".join(map(str, present))) == allowed
    else:
        assert may_be_empty == allowed


def num_nodes(expr: ir.Expr) -> int:
    """Nodes of the tree, shared ones counted wherever they stand."""
    total, pending = 0, [expr]
    while pending:
        node = pending.pop()
        total += 1
        pending += getattr(node, "items", ())
        pending += [node.item] if isinstance(node, (ir.Repeat, ir.Not)) else []
    return total


def test_many_optional_properties_stay_small() -> None:
    def size(count: int) -> int:
        properties = {f"p{i}": {"type": "boolean"} for i in range(count)}
        grammar = grammar_of({"type": "object", "properties": properties})
        return num_nodes(grammar.start) + sum(map(num_nodes, grammar.rules.values()))

    assert size(800) < 12 * size(100)


def test_deep_schemas_work_up_to_the_limit_of_depth() -> None:
    schema: Any = {"type": "null"}
    for _ in range(120):
        schema = {"type": "array", "items": schema, "minItems": 1}
    assert accepts(grammar_of(schema), "[" * 120 + "null" + "]" * 120)
    with pytest.raises(errors.ConstraintLimitExceeded, match="nested"):
        grammar_of('{"items":' * 30_000 + "true" + "}" * 30_000)


KEYWORDS = st.sampled_from(
    [*ENFORCED, "$dynamicRef", "$recursiveRef", "$defs", "$id", "$anchor", "then", "else", "title"]
)
ODD = st.sampled_from(
    [None, True, False, 0, -1, 2.5, "", "a", "#", "#/$defs/a", "string", "date", [], {}, [1], ["a"]]
)
SCHEMAS = st.recursive(
    ODD,
    lambda inner: (
        st.dictionaries(KEYWORDS, inner, max_size=4)
        | st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=1500)
@given(SCHEMAS)
def test_garbage_raises_nothing_but_constraint_errors(schema: Any) -> None:
    text = json.dumps(schema)
    try:
        grammar = json_schema(text).to_grammar()
    except errors.ConstraintError:
        return
    assert not accepts(grammar, "")
