from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.lang import api, constraint
from sestina.lang.api import gen, gen_int, gen_string, role, select, user, var
from sestina.lang.errors import InvalidConstraint, InvalidParams
from sestina.lang.expression import Expr, expression
from sestina.lang.ir import Gen, RoleBegin, RoleEnd, Select, Text, Var
from sestina.lang.params import SamplingParams

part = st.recursive(
    st.one_of(st.text(max_size=3), st.sampled_from([gen("x"), user("a"), var("y")])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def ops(expr: Expr) -> list[Any]:
    return [step.op for step in expr.steps]


@given(part, part, part)
@settings(deadline=None, max_examples=100)
def test_joining_is_associative_and_lists_are_the_same_as_plus(a: Any, b: Any, c: Any) -> None:
    empty = Expr(())
    assert (empty + a + b) + c == empty + a + (empty + b + c) == expression([a, b, c])
    assert expression([a, [b, (c,)]]) == expression([a, b, c])


def test_strings_join_on_both_sides() -> None:
    assert ops("a" + gen("x") + "b") == [Text(("a",)), Gen("x"), Text(("b",))]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (None, ValueError, "None"),
        (3, TypeError, "int"),
        ([b"x"], TypeError, "bytes"),
        ({"a": 1}, TypeError, "dict"),
    ],
)
def test_what_is_not_a_part_is_refused(bad: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        expression(bad)
    with pytest.raises(error, match=message):
        gen("x") + bad


def test_an_expression_has_neither_text_nor_truth() -> None:
    with pytest.raises(TypeError, match="f-string"):
        f"{gen('x')}"
    with pytest.raises(TypeError, match="no value yet"):
        bool(gen("x"))


def test_gen_takes_max_tokens_by_position() -> None:
    assert ops(gen("x", 12)) == ops(gen("x", max_tokens=12))
    with pytest.raises(TypeError, match="twice"):
        gen("x", 12, max_tokens=3)
    with pytest.raises(TypeError, match="by position"):
        gen("x", 12, 3)


def test_every_sampling_parameter_reaches_the_op() -> None:
    said: dict[str, Any] = {
        "max_tokens": 9,
        "min_tokens": 1,
        "n": 2,
        "stop": ["\n"],
        "stop_token_ids": [3],
        "stop_regex": "a+",
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "min_p": 0.1,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "repetition_penalty": 1.1,
        "logit_bias": {5: -1.0},
        "ignore_eos": True,
        "heal": False,
        "seed": 3,
        "return_logprob": True,
        "logprob_start_len": 0,
        "top_logprobs_num": 2,
        "return_text_in_logprobs": True,
    }
    assert set(said) == set(SamplingParams().resolved().to_data()) | {"seed"}
    assert gen("x", **said).steps[0].op == Gen("x", SamplingParams.of(said))


FORMS: dict[str, Any] = {
    "regex": "a",
    "schema": int,
    "json_schema": {"type": "integer"},
    "choices": ["a"],
    "grammar": "start: X",
    "dtype": int,
    "constraint": constraint.regex("a"),
}


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(FORMS, 2)))
def test_two_forms_are_refused_by_name(first: str, second: str) -> None:
    with pytest.raises(InvalidParams, match="at most one of") as raised:
        gen("x", **{first: FORMS[first], second: FORMS[second]})
    assert first in str(raised.value)
    assert second in str(raised.value)


def test_regex_and_constraint_are_the_same_and_give_text() -> None:
    assert gen("x", regex="a+") == gen("x", constraint=constraint.regex("a+"))
    assert gen("x", regex="a+").steps[0].parse is None


@pytest.mark.parametrize(
    ("dtype", "text", "value"),
    [
        (int, "-12 \n", -12),
        (float, "+.5", 0.5),
        (bool, "True", True),
        (bool, "False", False),
        (str, '"so so"', "so so"),
    ],
)
def test_dtype_reads_values_of_the_type(dtype: type, text: str, value: object) -> None:
    parse = gen("x", dtype=dtype).steps[0].parse
    assert parse is not None
    result = parse(text)
    assert result == value
    assert type(result) is dtype


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Invoice:
    vendor: str
    total: float
    colours: list[Colour]


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (
            Invoice,
            '{"vendor": "A", "total": 1.5, "colours": ["red"]}',
            Invoice("A", 1.5, [Colour.RED]),
        ),
        (list[int], "[1, 2]", [1, 2]),
        (int, "7", 7),
        (Colour, '"blue"', Colour.BLUE),
    ],
)
def test_schema_gives_values_of_the_type_and_json_schema_the_text(
    schema: Any, text: str, value: object
) -> None:
    typed_step, text_step = gen("x", schema=schema).steps[0], gen("x", json_schema=schema).steps[0]
    assert typed_step.op == text_step.op
    assert text_step.parse is None
    assert typed_step.parse is not None
    assert typed_step.parse(text) == value


def test_json_schema_takes_a_dict_and_its_text() -> None:
    assert ops(gen("x", json_schema={"type": "integer"})) == ops(
        gen("x", json_schema='{"type": "integer"}')
    )


def test_gen_int_and_gen_string_are_dtypes() -> None:
    assert ops(gen_int("x", 3)) == ops(gen("x", 3, dtype=int))
    assert ops(gen_string("x", temperature=0.0)) == ops(gen("x", dtype=str, temperature=0.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": list}, "schema="),
        ({"dtype": "int"}, "dtype"),
        ({"schema": "{}"}, "json_schema="),
        ({"schema": {"type": "integer"}}, "json_schema="),
        ({"constraint": "a+"}, "Constraint"),
        ({"choices_method": "token_length_normalized"}, "needs choices"),
        ({"choices": ["a"], "max_tokens": 3}, "max_tokens has no meaning with choices"),
        ({"choices": ["a"], "temperature": 1.0}, "not random"),
        ({"temprature": 1.0}, "unknown parameter 'temprature'; did you mean 'temperature'"),
        ({"stop": 5}, "stop must be a list of strings"),
    ],
)
def test_misuse_of_gen_raises_on_the_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParams, match=message):
        gen("x", **options)


@pytest.mark.parametrize("name", ["", 3, b"x"])
def test_a_name_is_a_non_empty_string(name: Any) -> None:
    with pytest.raises(InvalidParams, match="name of a variable"):
        gen(name)
    with pytest.raises(InvalidParams, match="name of a variable"):
        select(name, ["a"])


def test_choices_make_a_select() -> None:
    expected = Select("x", ("a", "b"), "greedy_token_selection")
    assert ops(gen("x", choices=["a", "b"], choices_method="greedy_token_selection")) == [expected]
    assert ops(select("x", ("a", "b"), choices_method="greedy_token_selection")) == [expected]
    assert ops(gen("x", choices=["a"], temperature=0.0)) == [Select("x", ("a",))]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (None, "list of options"),
        ([], "list of options"),
        ("ab", "list of options"),
        (["a", 1], r"choices\[1\]"),
        (["a", ""], r"choices\[1\]"),
        (["a", "b", "a"], r"choices\[2\] repeats 'a'"),
        (iter(["a", "b"]), "list of options"),
        ({"a", "b"}, "list of options"),
    ],
)
def test_misuse_of_select_raises_on_the_line(choices: Any, message: str) -> None:
    with pytest.raises(InvalidParams, match=message):
        select("x", choices)


def test_an_unknown_choices_method_is_refused() -> None:
    with pytest.raises(InvalidParams, match="unknown choices_method"):
        select("x", ["a"], choices_method="best")  # type: ignore[arg-type]


def test_roles_wrap_their_expression() -> None:
    turn = [RoleBegin("tool"), Text(("a",)), Gen("x"), RoleEnd("tool")]
    assert ops(role("tool", ["a", gen("x")])) == turn
    assert ops(api.role_begin("tool") + "a" + gen("x") + api.role_end("tool")) == turn
    assert ops(user()) == [RoleBegin("user"), RoleEnd("user")]


@pytest.mark.parametrize("make", [role, api.role_begin])
@pytest.mark.parametrize("name", ["", 5, None])
def test_a_role_is_a_non_empty_string(make: Any, name: Any) -> None:
    with pytest.raises(InvalidParams, match="a role must be"):
        make(name)


def test_an_expression_is_never_pasted_into_a_string() -> None:
    for paste in (lambda e: f"{e}", str, lambda e: "%s" % e):  # noqa: UP031
        with pytest.raises(TypeError, match="no text yet"):
            paste(gen("x"))


def test_a_stop_regex_is_read_on_the_line() -> None:
    with pytest.raises(InvalidConstraint, match="missing"):
        gen("x", stop_regex="(")


@pytest.mark.parametrize("name", ["system", "user", "assistant"])
def test_named_roles_are_roles(name: str) -> None:
    whole, begin, end = (getattr(api, name + suffix) for suffix in ("", "_begin", "_end"))
    assert whole("a") == role(name, "a") == begin() + "a" + end()


def test_var_pastes_a_variable() -> None:
    assert ops("a" + var("x")) == [Text(("a",)), Text((Var("x"),))]
