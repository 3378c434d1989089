"""Numbers: every bound and multiple against exact arithmetic, in the spellings of json.dumps."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import json_schema
from sestina.lang.json_schema.number import MAX_EXPONENT, constant

QUIET = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
NOTHING = ir.Grammar(ir.NOTHING)


def grammar_of(schema: Any) -> ir.Grammar:
    try:
        return json_schema(schema).to_grammar()
    except errors.UnsatisfiableConstraint:
        return NOTHING


LIMITS = st.one_of(
    st.integers(-120, 120),
    st.sampled_from([0.1, -0.5, 2.5, 12.345, 1e16, -3e17, 1e-5, 2.5e-7, 2**63 - 1, 1e300, -1e-9]),
)
BOUNDS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), LIMITS),
)
STEPS = st.sampled_from(
    [1, 2, 3, 5, 7, 9, 10, 11, 12, 77, 97, 256, 0.5, 0.01, 0.1, 2.5, 6.75, 2.125, 1e-8, 0.25, 1.5]
)
VALUES = st.one_of(
    st.integers(-150, 150),
    st.integers(-(10**20), 10**20),
    st.integers(-(10**4), 10**4).map(lambda n: n / 100),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e16, 1.5e16, 1e-5, 2.5e-7, 1e22, 2.0**63, 1e300]),
)


def exact(number: float) -> Fraction:
    """The number that a JSON text of it spells."""
    return Fraction(Decimal(json.dumps(number)))


def is_valid(value: Fraction, schema: dict[str, Any]) -> bool:
    def holds(keyword: str, test: Any) -> bool:
        return keyword not in schema or test(value, exact(schema[keyword]))

    return (
        (schema["type"] == "number" or value.denominator == 1)
        and holds("minimum", lambda v, b: v >= b)
        and holds("maximum", lambda v, b: v <= b)
        and holds("exclusiveMinimum", lambda v, b: v > b)
        and holds("exclusiveMaximum", lambda v, b: v < b)
        and holds("multipleOf", lambda v, s: (v / s).denominator == 1)
    )


def near(schema: dict[str, Any], values: list[float]) -> list[float]:
    """Some values, and those around the bounds."""
    limits = [float(v) for k, v in schema.items() if k not in ("type", "multipleOf")]
    steps = [math.nextafter(b, way) for b in limits for way in (-math.inf, math.inf)]
    around = [b + d for b in limits for d in (-1, -0.5, 0, 1)]
    return [*values, *limits, *steps, *around, *(int(b) for b in limits)]


def cannot_tell(value: float, bounds: dict[str, Any]) -> bool:
    """Whether a double cannot tell the value from an exclusive bound that it is not."""
    exclusive = (bounds.get("exclusiveMinimum"), bounds.get("exclusiveMaximum"))
    return any(float(b) == value and exact(b) != exact(value) for b in exclusive if b is not None)


@QUIET
@given(st.sampled_from(["integer", "number"]), BOUNDS, st.lists(VALUES, max_size=8))
def test_bounds_are_exact_as_json_dumps_writes(
    kind: str, bounds: dict[str, Any], values: list[float]
) -> None:
    schema = {"type": kind, **bounds}
    grammar = grammar_of(schema)
    for value in near(schema, values):
        text = json.dumps(value)
        expected = is_valid(exact(value), schema)
        if kind == "number":  # to a double, some bounds are the value itself
            exclusive = (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum"))
            expected = expected and all(float(b) != value for b in exclusive if b is not None)
        assert accepts(grammar, text) == expected, (text, schema)


@QUIET
@given(st.sampled_from(["integer", "number"]), STEPS, BOUNDS, st.lists(VALUES, max_size=8))
def test_multiples_between_bounds(
    kind: str, step: float, bounds: dict[str, Any], values: list[float]
) -> None:
    """Complete but for exponents, which only some multiples have."""
    schema = {"type": kind, "multipleOf": step, **bounds}
    try:
        grammar = grammar_of(schema)
    except errors.UnsupportedConstraint:
        return
    multiples = [float(exact(step) * round(Fraction(v) / exact(step))) for v in values]
    for value in near(schema, [*values, *multiples]):
        text = json.dumps(value)
        taken = accepts(grammar, text)
        expected = is_valid(exact(value), schema)
        if kind == "number" and cannot_tell(value, bounds):
            continue  # read as integers it lies beyond the bound, read as doubles upon it
        assert taken == expected or ("e" in text and not taken), text


@QUIET
@given(
    st.sampled_from(["integer", "number"]),
    BOUNDS,
    st.sampled_from([{"multipleOf": 3}, {"multipleOf": 10}, {"type": "integer"}]),
    st.none() | STEPS,
    st.lists(VALUES, max_size=8),
)
def test_negations_leave_nothing_out(
    kind: str, bounds: dict[str, Any], other: dict[str, Any], step: float, values: list[float]
) -> None:
    schema = {"type": kind, **bounds} | ({} if step is None else {"multipleOf": step})
    try:
        grammar = grammar_of({**schema, "not": other})
    except errors.UnsupportedConstraint:
        return
    for value in near(schema, values):
        number = exact(value)
        is_other = (number / other.get("multipleOf", 1)).denominator == 1
        taken = accepts(grammar, json.dumps(value))
        assert not taken or (is_valid(number, schema) and not is_other)
        if isinstance(value, int) and "multipleOf" in other and step is None:
            assert taken == (is_valid(number, schema) and not is_other)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 400), st.integers(0, 10**6), st.integers(0, 10**6))
def test_any_step_up_to_hundreds(step: int, factor: int, value: int) -> None:
    grammar = grammar_of({"type": "integer", "multipleOf": step})
    assert accepts(grammar, str(step * factor))
    assert accepts(grammar, f"-{step * factor}.0")
    assert accepts(grammar, str(value)) == (value % step == 0)


def test_steps_with_many_factors_need_few_states() -> None:
    grammar = grammar_of({"type": "integer", "multipleOf": 86_400, "minimum": 1})
    assert len(grammar.rules) < 1000
    assert all(accepts(grammar, str(86_400 * n)) for n in (1, 2, 999, 10**12 + 1))
    others = (0, 1, 43_200, 7 * 86_400 + 1, -86_400)
    assert not any(accepts(grammar, str(value)) for value in others)


@pytest.mark.parametrize("step", ["0.123456789", "1000003", "1e-30", "1e300", "3e1000"])
def test_steps_beyond_the_limits_are_refused(step: str) -> None:
    with pytest.raises(errors.UnsupportedConstraint) as caught:
        json_schema(f'{{"items": {{"type": "number", "multipleOf": {step}}}}}')
    assert (caught.value.pointer, caught.value.keyword) == ("/items", "multipleOf")


# ---- spellings --------------------------------------------------------------------------------


@QUIET
@given(VALUES, st.integers(0, 3))
def test_a_constant_has_every_spelling_of_its_value(value: float, zeros: int) -> None:
    grammar = ir.Grammar(constant(value))
    plain = f"{Decimal(json.dumps(value)):f}"
    longer = plain + ("" if "." in plain else ".") + "0" * (zeros + 1)
    without_exponent = (plain, longer) if abs(Decimal(plain).adjusted()) <= MAX_EXPONENT else ()
    assert all(accepts(grammar, text) for text in (json.dumps(value), *without_exponent))
    assert not any(accepts(grammar, text) for text in (longer + "1", "0" + plain, plain + "."))


@pytest.mark.parametrize("text", ["1", "1.0", "1.000", "1e2", "1.5e1", "1E+16", "-0", "-0.0"])
def test_an_integer_is_a_value(text: str) -> None:
    assert accepts(grammar_of({"type": "integer"}), text)


@pytest.mark.parametrize(
    "text", ["1.5", "1.", "1.50e0", "1.25e1", "01", "-01", "1e-1", "+1", "1e400"]
)
def test_and_only_such_a_value(text: str) -> None:
    assert not accepts(grammar_of({"type": "integer"}), text)


@pytest.mark.parametrize(("draft", "expected"), [("04", False), ("06", True), ("07", True)])
def test_one_point_zero_is_no_integer_in_draft_4(draft: str, expected: bool) -> None:
    schema = f"http://json-schema.org/draft-{draft}/schema#"
    for more in ({}, {"minimum": 0}, {"multipleOf": 3}, {"minimum": 0, "maximum": 9}):
        grammar = grammar_of({"$schema": schema, "type": "integer", **more})
        assert accepts(grammar, "3")
        assert accepts(grammar, "3.0") == expected
        assert accepts(grammar, "-0") == expected


@pytest.mark.parametrize("bound", ["minimum", "exclusiveMaximum"])
def test_absurd_bounds_are_a_limit(bound: str) -> None:
    with pytest.raises(errors.ConstraintLimitExceeded):
        json_schema(f'{{"type": "number", "{bound}": 1e99999}}')


def test_bounds_that_no_double_passes_are_none() -> None:
    most = "1.7976931348623157e308"
    wide = json_schema(f'{{"type": "number", "minimum": -{most}, "maximum": {most}}}')
    assert wide.to_grammar() == json_schema({"type": "number"}).to_grammar()
