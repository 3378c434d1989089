"""Regex source to IR: against tables, Python's `re` and interegular."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import interegular
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.regex.classes import meaning
from sestina.lang.regex_syntax import MAX_NESTING, MAX_PATTERN_LEN, Dialect, lower

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = tomllib.loads((Path(__file__).parents[1] / "data/regexes.toml").read_text())


def matches(pattern: str, text: str, **options: Any) -> bool:
    return accepts(ir.Grammar(lower(pattern, **options)), text)


@pytest.mark.parametrize("case", TABLE["case"], ids=lambda case: case["pattern"])
def test_table(case: dict[str, Any]) -> None:
    taken = [t for t in case["accepts"] + case["rejects"] if matches(case["pattern"], t)]
    assert taken == case["accepts"]


@pytest.mark.parametrize("case", TABLE["case"], ids=lambda case: case["pattern"])
def test_what_we_accept_python_accepts_with_and_without_ascii(case: dict[str, Any]) -> None:
    for text in case["accepts"]:
        assert re.fullmatch(case["pattern"], text)
        assert re.fullmatch(case["pattern"], text, re.ASCII)


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: case["pattern"])
def test_refusals_point_at_the_place(case: dict[str, Any]) -> None:
    with pytest.raises(errors.ConstraintError) as caught:
        lower(case["pattern"])
    assert (type(caught.value).__name__, caught.value.position) == (case["kind"], case["at"])
    assert "^" in str(caught.value).splitlines()[-1]


@pytest.mark.parametrize("letter", "dwsDWS")
def test_classes_satisfy_unicode_and_ascii_readings(letter: str) -> None:
    codes = [code for lo, hi in meaning(letter) for code in range(lo, hi + 1)]
    text = "".join(map(chr, codes))
    assert re.fullmatch(f"\\{letter}+", text)
    assert re.fullmatch(f"\\{letter}+", text, re.ASCII)
    inverted = "".join(
        chr(code) for lo, hi in meaning(letter.swapcase()) for code in range(lo, hi + 1)
    )
    assert re.fullmatch(f"[^\\{letter}]+", inverted)
    assert re.fullmatch(f"[^\\{letter}]+", inverted, re.ASCII)


ATOMS = st.sampled_from(
    ["a", "b", "\n", ".", "[ab]", "[^a]", r"\d", r"\w", r"\s", "^", "$", r"\A", r"\Z", "()", "a|b"]
)


def combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    quantifiers = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,1}", "*?", "{,}"])
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, quantifiers).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


PATTERNS = st.recursive(ATOMS, combine, max_leaves=6)
TEXTS = st.text(alphabet="ab1 \né", max_size=5)


@settings(deadline=None, max_examples=400)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=8))
def test_same_as_fullmatch(pattern: str, texts: list[str]) -> None:
    grammar = lowered(pattern)
    for text in texts if grammar else ():
        assert accepts(grammar, text) == bool(re.fullmatch(pattern, text, re.ASCII)), text


@settings(deadline=None, max_examples=300)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=8))
def test_same_as_search(pattern: str, texts: list[str]) -> None:
    grammar = lowered(pattern, search=True)
    for text in texts if grammar else ():
        assert accepts(grammar, text) == bool(re.search(pattern, text, re.ASCII)), text


def lowered(pattern: str, **options: Any) -> ir.Grammar | None:
    """The grammar; None if it is refused, NOTHING if no text matches."""
    try:
        return ir.Grammar(lower(pattern, **options))
    except errors.UnsupportedConstraint:
        return None
    except errors.UnsatisfiableConstraint:
        return ir.Grammar(ir.NOTHING)


SIMPLE = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "[^b]", "."]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=2).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "?", "{2,3}"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(SIMPLE, st.lists(st.text(alphabet="abc", max_size=6), min_size=1, max_size=8))
def test_same_as_interegular(pattern: str, texts: list[str]) -> None:
    fsm = interegular.parse_pattern(pattern).to_fsm()
    grammar = ir.Grammar(lower(pattern))
    for text in texts:
        assert accepts(grammar, text) == fsm.accepts(text)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="ab([{)]}|*+?\\^$,-:<>P=!#dwsuxZ0129i ", max_size=14))
@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")  # of Python's re, about `[[`
def test_garbage_is_refused_like_python_or_more_strictly(pattern: str) -> None:
    grammar = lowered_or_invalid(pattern)
    if grammar is not None and not re.search(r"\(\?<[^=!]|\(\?\)", pattern):
        re.compile(pattern)


def lowered_or_invalid(pattern: str) -> ir.Grammar | None:
    try:
        return lowered(pattern)
    except (errors.InvalidConstraint, errors.ConstraintLimitExceeded):
        return None


@pytest.mark.parametrize(
    "pattern", ["(" * 30_000, "(" * 30_000 + ")" * 30_000, "a" * (MAX_PATTERN_LEN + 1)]
)
def test_limits(pattern: str) -> None:
    with pytest.raises(errors.ConstraintLimitExceeded):
        lower(pattern)


def test_nesting_up_to_the_limit_works() -> None:
    pattern = "(a|b" * MAX_NESTING + ")*" * MAX_NESTING
    assert matches(pattern, "abba")
    assert not matches(pattern, "abc")
    assert hash(lower(pattern)) == hash(lower(pattern))


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a", "xax", True),
        ("^a", "xa", False),
        ("a$", "xa", True),
        ("a$", "xa\n", False),
        ("^a$|b", "xbx", True),
        (r"^\u{1F600}\uD83D\uDE00$", "😀😀", True),
        (r"^[^]$", "\n", True),
        ("^.$", "\u2028", False),
        (r"^\cA\/\-$", "\x01/-", True),
        ("(?<year>[0-9]{4})", "in 2024!", True),
    ],
)
def test_ecma_search(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text, dialect=Dialect.ECMA, search=True) == expected


@pytest.mark.parametrize(
    "pattern", [r"\A", r"\U00000041", "(?P<a>b)", "a{,3}", "[]", "a++", "(?s)."]
)
def test_ecma_refuses_what_is_python_only(pattern: str) -> None:
    with pytest.raises(errors.ConstraintError):
        lower(pattern, dialect=Dialect.ECMA)
