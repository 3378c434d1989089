"""`|`, `&`, `~`, `+` and `repeat`: the compiled automaton against sets of short texts."""

from __future__ import annotations

import functools
import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.grammar import Automaton, compile_automaton
from sestina.lang import algebra
from sestina.lang import constraint as c
from sestina.lang.constraint import Constraint
from sestina.lang.errors import (
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)
from sestina.lang.expression import Expr
from sestina.lang.structural import special

MAX_LEN = 4
ALPHABET = "abé"  # é is two bytes: a complement must not tear it apart
UNIVERSE = frozenset(
    "".join(letters)
    for length in range(MAX_LEN + 1)
    for letters in itertools.product(ALPHABET, repeat=length)
)
NO_TEXT = [b"\xc3", b"\xa9", b"a\xc3", b"\xc3a", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"b\xf5"]

NESTED = {"$ref": "#/$defs/t", "$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}}
TREE = {
    "$ref": "#/$defs/t",
    "$defs": {
        "t": {
            "type": "object",
            "properties": {"k": {"$ref": "#/$defs/t"}},
            "additionalProperties": False,
        }
    },
}
PAIR = {"type": "array", "prefixItems": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}],
        "items": False, "minItems": 2, "$defs": {"n": {"type": "integer"}}}  # fmt: skip


def accepts(automaton: Automaton, text: str | bytes) -> bool:
    data = text.encode() if isinstance(text, str) else text
    state = automaton.advance(automaton.start, data)
    return bool(state) and automaton.is_accepting(state)


def accepted(constraint: Constraint, texts: list[str]) -> list[str]:
    automaton = compile_automaton(constraint.to_grammar())
    return [text for text in texts if accepts(automaton, text)]


# ---- the oracle -------------------------------------------------------------------------------

Short = frozenset[str]
"""The texts of a language over ALPHABET that are no longer than MAX_LEN."""


def joined(a: Short, b: Short) -> Short:
    return frozenset(x + y for x in a for y in b if len(x + y) <= MAX_LEN)


def repeated(item: Short, lo: int, hi: int | None) -> Short:
    now: Short = frozenset({""})
    for _ in range(lo):
        now = joined(now, item)
    found = now
    for _ in range(MAX_LEN if hi is None else hi - lo):
        now = joined(now, item)
        found |= now
    return found


PATTERNS = ["a*b?", "[ab]{2}", "(ab|é)*", ".é.", "é+|", "[^a]*"]
TEXTS = ["", "a", "é", "ab", "ba", "aéb"]
Case = tuple[Constraint, Short]

leaves = st.one_of(
    st.sampled_from(PATTERNS).map(
        lambda p: (c.regex(p), frozenset(t for t in UNIVERSE if re.fullmatch(p, t)))
    ),
    st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3, unique=True).map(
        lambda texts: (c.choices(texts), frozenset(texts))
    ),
)


def combined(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    pairs = st.tuples(inner, inner)
    bounds = st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, None]))
    return st.one_of(
        pairs.map(lambda p: (p[0][0] | p[1][0], p[0][1] | p[1][1])),
        pairs.map(lambda p: (p[0][0] & p[1][0], p[0][1] & p[1][1])),
        pairs.map(lambda p: (p[0][0] + p[1][0], joined(p[0][1], p[1][1]))),
        pairs.map(lambda p: (~p[0][0] & ~p[1][0], UNIVERSE - p[0][1] - p[1][1])),
        inner.map(lambda case: (~case[0], UNIVERSE - case[1])),
        inner.map(lambda case: (case[0].optional(), case[1] | {""})),
        st.tuples(inner, st.sampled_from(TEXTS)).map(
            lambda p: (p[1] + p[0][0], joined(frozenset({p[1]}), p[0][1]))
        ),
        st.tuples(inner, bounds).map(
            lambda p: (
                p[0][0].repeat(p[1][0], None if p[1][1] is None else sum(map(int, p[1]))),
                repeated(p[0][1], p[1][0], None if p[1][1] is None else sum(map(int, p[1]))),
            )
        ),
    )


cases = st.recursive(leaves, combined, max_leaves=6)


@settings(max_examples=150)
@given(cases)
def test_the_automaton_is_the_set(case: Case) -> None:
    constraint, expected = case
    try:
        automaton = compile_automaton(constraint.to_grammar())
    except UnsatisfiableConstraint:
        assert not expected
        return
    assert {text for text in UNIVERSE if accepts(automaton, text)} == expected
    assert not [data for data in NO_TEXT if accepts(automaton, data)]
    assert automaton.advance(automaton.start, b"\xff") == 0


@settings(max_examples=100)
@given(cases)
def test_data_round_trip(case: Case) -> None:
    constraint, _ = case
    again = c.from_data(json.loads(json.dumps(constraint.to_data())))
    assert again == constraint
    assert hash(again) == hash(constraint)
    assert repr(again) == repr(constraint)


# ---- values -----------------------------------------------------------------------------------

A, B, N = c.regex("a+"), c.regex("b"), c.regex(r"\d+")


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        ("Answer: " + N, "('Answer: ' + Regex(pattern='\\\\d+'))"),
        (A + "-" + "-" + B, "(Regex(pattern='a+') + '--' + Regex(pattern='b'))"),
        (A | B | "c", "(Regex(pattern='a+') | Regex(pattern='b') | 'c')"),
        ((A | "c") & ~B, "((Regex(pattern='a+') | 'c') & ~Regex(pattern='b'))"),
        (A.repeat(1, None), "Regex(pattern='a+').repeat(1, None)"),
        ((A + "x").optional(), "(Regex(pattern='a+') + 'x').repeat(0, 1)"),
    ],
)
def test_repr_is_the_expression(constraint: Constraint, text: str) -> None:
    assert repr(constraint) == text


def test_equal_however_it_was_put_together() -> None:
    assert (A + "x") + ("y" + B) == A + "xy" + B
    assert A + (B + N) == (A + B) + N
    assert (A | B) | (B | N) == A | B | N
    assert A & (B & A) == A & B
    assert "" + A == A + "" == A
    assert (A | A) == (A & A) == ~~A == A
    assert A | B != B | A  # a value, not a language


def test_strings_are_literal_text() -> None:
    assert accepted(".*" + A, [".*a", "xa"]) == [".*a"]
    assert accepted(A + "(" + B, ["a(b", "ab"]) == ["a(b"]
    assert accepted("b|a" | A, ["b|a", "b", "aa"]) == ["b|a", "aa"]
    assert accepted("aa" & A, ["a", "aa", "aaa"]) == ["aa"]


@pytest.mark.parametrize("other", [3, None, b"a", Expr(())])
def test_other_operands_are_refused(other: Any) -> None:
    for combine in (
        lambda: A | other,
        lambda: other & A,
        lambda: A + other,
        lambda: other + A,
    ):
        with pytest.raises(TypeError):
            combine()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: A.repeat(-1, 2), "lo must be in"),
        (lambda: A.repeat(2, 1), "2 to 1 copies"),
        (lambda: A.repeat(True, 2), "lo must be an integer"),
        (lambda: A.repeat(0, 1.0), "hi must be an integer"),  # type: ignore[arg-type]
        (lambda: A.repeat(0, 1 << 40), "hi must be in"),
        (lambda: A + "\ud800", "surrogate"),
        (lambda: algebra.AnyOf(()), "one constraint or more"),
        (lambda: algebra.AnyOf((A, "b")), "made of constraints"),  # type: ignore[arg-type]
        (lambda: algebra.Complement("b"), "made of constraints"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_raise_where_they_are_made(make: Any, message: str) -> None:
    with pytest.raises(InvalidConstraint, match=message):
        make()


# ---- recursion --------------------------------------------------------------------------------

RECURSIVE = c.json_schema(NESTED, whitespace="compact")


def test_rules_of_one_name_are_kept_apart() -> None:
    other = c.json_schema(TREE, whitespace="compact")
    texts = ["[[],[]]", '{"k":{}}', '[{"k":{}}]', '{"k":[]}', '[[]]{"k":{}}', '{"k":{}}[[]]']
    assert accepted(RECURSIVE | other, texts) == texts[:2]
    assert accepted(RECURSIVE + other, texts) == texts[4:5]
    twice = (RECURSIVE + other) | (other + RECURSIVE)
    assert accepted(twice, texts) == texts[4:]
    assert accepted(("x" + (twice | RECURSIVE)).repeat(1, 2), ["x[]x[[]]{}", "x[]x", "x{}[]"]) == [
        "x[]x[[]]{}",
        "x{}[]",
    ]


def test_equal_rules_are_there_once() -> None:
    """However many schemas allow any JSON value somewhere."""
    schemas = [c.json_schema({"properties": {f"p{i}": {"type": "integer"}}}) for i in range(20)]
    whole: Constraint = schemas[0]
    for schema in schemas[1:]:
        whole = whole | schema
    assert len(whole.to_grammar().rules) == len(schemas[0].to_grammar().rules)


def test_schemas_with_finite_rules_are_regular() -> None:
    pairs = c.json_schema(PAIR, whitespace="compact")
    texts = ["[1,2]", "[1,1]", "[-3,4]", "[]"]
    assert accepted(pairs & ~c.regex(".*-.*"), texts) == ["[1,2]", "[1,1]"]
    assert accepted(~pairs, texts) == ["[]"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RECURSIVE & c.json_schema({}), r"JsonSchema\(source='\{\"\$ref.* and JsonSchema"),
        (lambda: RECURSIVE & ~A & c.json_schema({}), "two recursive constraints"),
        (lambda: (RECURSIVE | A) & ("x" + RECURSIVE), "context-free languages need not be"),
        (lambda: ~RECURSIVE, "~A of a recursive constraint"),
        (lambda: ~(A + RECURSIVE.optional()), "its rule"),
        (lambda: special("<|x|>") & A, "control token '<|x|>'"),
        (lambda: ~("a" + special("<|x|>")), "control token '<|x|>'"),
    ],
)
def test_what_no_automaton_can_do_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UnsupportedConstraint, match=message.replace("|", r"\|")):
        make()


def test_recursive_and_regular() -> None:
    texts = ["[]", "[[]]", "[[[]]]", "[[],[]]", "[", "[[],"]
    assert accepted(RECURSIVE & c.regex(".{0,5}"), texts) == ["[]", "[[]]"]
    assert accepted(RECURSIVE & ~c.regex(r".*\[\[\[.*"), texts) == ["[]", "[[]]", "[[],[]]"]
    assert accepted((RECURSIVE & ~c.choices(["[]"])) | "x", texts) == texts[1:4]
    with pytest.raises(UnsatisfiableConstraint):
        compile_automaton((RECURSIVE & A).to_grammar())


# ---- no text at all ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "constraint",
    [
        A & ~A,
        A & B,
        ~(A | ~A),
        "x" + (A & ~A),
        (A & "b").repeat(1, 3),
        ~c.regex(r"[^a]*|(.|\n)*a(.|\n)*"),
    ],
    ids=repr,
)
def test_unsatisfiable(constraint: Constraint) -> None:
    with pytest.raises(UnsatisfiableConstraint):
        compile_automaton(constraint.to_grammar())


def test_parts_without_a_text_do_not_matter() -> None:
    dead = A & ~A
    assert accepted(dead | B, ["a", "b"]) == ["b"]
    assert accepted(dead.optional() + B, ["a", "b"]) == ["b"]
    assert accepted(~dead, ["", "a", "xyz"]) == ["", "a", "xyz"]


# ---- size -------------------------------------------------------------------------------------


def test_long_sums_are_flat() -> None:
    whole: Constraint = c.regex("[0-9]")
    for i in range(300):
        whole = whole + f",{i % 7}=" + c.regex("[0-9]")
    text = "1" + "".join(f",{i % 7}=2" for i in range(300))
    assert accepted(whole, [text, text[:-1]]) == [text]


def test_depth_and_size_are_bounded() -> None:
    deep = functools.reduce(lambda inner, _: "(" + inner.optional() + ")", range(30), A)
    assert accepted(deep, ["(" * 30 + "aa" + ")" * 30, "(" * 9 + ")" * 9, "(()"]) == [
        "(" * 30 + "aa" + ")" * 30,
        "(" * 9 + ")" * 9,
    ]
    with pytest.raises(ConstraintLimitExceeded, match="64 deep"):
        functools.reduce(lambda inner, _: "(" + inner.optional() + ")", range(10_000), A)
    with pytest.raises(ConstraintLimitExceeded, match="more than 100000"):
        functools.reduce(lambda half, _: half + (half + "x").optional(), range(30), A + B)


def test_deep_data_is_a_limit() -> None:
    data: dict[str, Any] = A.to_data()
    for _ in range(50_000):
        data = {"kind": "complement", "item": data}
    with pytest.raises(ConstraintLimitExceeded):
        c.from_data(data)
    while "item" in data:  # freed by hand: a chain this long would recurse in the garbage collector
        data = data["item"]


def test_deep_lists_are_a_limit() -> None:
    items: list[Any] = []
    for _ in range(50_000):
        items = [items]
    with pytest.raises(ConstraintLimitExceeded):
        c.from_data({"kind": "any_of", "items": items})
    while items:
        items = items[0]


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "text"},
        {"kind": "text", "text": 3},
        {"kind": "any_of", "items": "ab"},
        {"kind": "any_of", "items": []},
        {"kind": "any_of", "items": ["a"]},
        {"kind": "any_of", "items": [{"kind": "regex"}]},
        {"kind": "all_of", "items": [{"kind": "regex", "pattern": "("}]},
        {"kind": "repeat", "item": {"kind": "text", "text": "a"}, "lo": 0},
        {"kind": "repeat", "item": {"kind": "text", "text": "a"}, "lo": "0", "hi": None},
        {"kind": "complement", "item": None},
        {"kind": "complement", "item": {"kind": "text", "text": "a"}, "depth": 1},
        {"kind": "sequence", "items": [{"kind": "text", "text": "a"}], "num_parts": 1},
    ],
)
def test_hostile_data_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidConstraint):
        c.from_data(data)
