"""Regex source to IR: against tables, Python's `re` and interegular."""

from __future__ import annotations

import contextlib
import re
import sys
from itertools import product
from pathlib import Path
from typing import Any

import interegular
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.backend.grammar import compile_automaton
from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.regex_syntax import MAX_NESTING, MAX_PATTERN_LEN, SUPPORTED, Dialect, lower

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = tomllib.loads((Path(__file__).parents[1] / "data/regexes.toml").read_text())


def matches(pattern: str, text: str, **options: Any) -> bool:
    return accepts(ir.Grammar(lower(pattern, **options)), text)


def options_of(case: dict[str, Any]) -> dict[str, Any]:
    dialect = Dialect(case.get("dialect", "python"))
    return {"dialect": dialect, "search": dialect is Dialect.ECMA}


@pytest.mark.parametrize("case", TABLE["case"], ids=lambda case: case["pattern"])
def test_table(case: dict[str, Any]) -> None:
    try:
        grammar = ir.Grammar(lower(case["pattern"], **options_of(case)))
    except errors.UnsatisfiableConstraint:
        grammar = ir.Grammar(ir.NOTHING)
    taken = [text for text in case["accepts"] + case["rejects"] if accepts(grammar, text)]
    assert taken == case["accepts"]


@pytest.mark.parametrize("case", TABLE["case"], ids=lambda case: case["pattern"])
def test_the_automaton_of_an_expression_says_the_same(case: dict[str, Any]) -> None:
    try:
        grammar = ir.Grammar(lower(case["pattern"], **options_of(case)))
        automaton = compile_automaton(grammar)
    except errors.UnsatisfiableConstraint:
        assert not case["accepts"]
        return
    for text in case["accepts"] + case["rejects"]:
        state = automaton.advance(automaton.start, text.encode())
        assert automaton.is_accepting(state) == (text in case["accepts"]), text


PYTHON_CASES = [
    case
    for case in TABLE["case"]
    if "dialect" not in case
    and not re.search(r"\\[pP]|\(\?[au]", case["pattern"])
    # `re` has these since Python 3.11.
    and (sys.version_info >= (3, 11) or not re.search(r"\(\?>|[*+]\+", case["pattern"]))
]


@pytest.mark.parametrize("case", PYTHON_CASES, ids=lambda case: case["pattern"])
def test_the_table_is_right_about_python(case: dict[str, Any]) -> None:
    for flags in (re.ASCII, re.UNICODE):
        for text in case["accepts"]:
            assert re.fullmatch(case["pattern"], text, flags)
    for text in case["rejects"]:
        readings = [re.fullmatch(case["pattern"], text, f) for f in (re.ASCII, re.UNICODE)]
        assert None in readings


@pytest.mark.parametrize("case", TABLE["refused"], ids=lambda case: case["pattern"])
def test_refusals_point_at_the_place(case: dict[str, Any]) -> None:
    with pytest.raises(errors.ConstraintError) as caught:
        lower(case["pattern"], **options_of(case))
    assert (type(caught.value).__name__, caught.value.position) == (case["kind"], case["at"])
    assert "^" in str(caught.value).splitlines()[-1]


ATOMS = st.sampled_from(
    [
        *("a", "b", "\n", ".", "[ab]", "[^a]", r"\d", r"\w", r"\W", r"\s", "()", "a|b"),
        *("^", "$", r"\A", r"\Z", r"\b", r"\B", "(?m:^)", "(?m:$)", "(?s:.)", "(?i:[A])"),
    ]
)

LOOKS = st.sampled_from(["(?={})", "(?!{})", "(?<={})", "(?<!{})"])


def combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    quantifiers = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,1}", "*?", "{,}", "{2,5}"])
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, quantifiers).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        st.tuples(LOOKS, inner).map(lambda pair: pair[0].format(pair[1])),
    )


PATTERNS = st.recursive(ATOMS, combine, max_leaves=6)
TEXTS = st.text(alphabet="ab1 \né", max_size=5)

# Of Python's re, about `[[`.
pytestmark = pytest.mark.filterwarnings("ignore:Possible:FutureWarning")


@settings(deadline=None, max_examples=400)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=8))
def test_same_as_fullmatch(pattern: str, texts: list[str]) -> None:
    compiled = python_regex(pattern)
    grammar = lowered("(?a)" + pattern)
    for text in texts if grammar else ():
        assert accepts(grammar, text) == bool(compiled.fullmatch(text)), text


@settings(deadline=None, max_examples=400)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=8))
def test_same_as_search(pattern: str, texts: list[str]) -> None:
    compiled = python_regex(pattern)
    grammar = lowered("(?a)" + pattern, search=True)
    for text in texts if grammar else ():
        assert accepts(grammar, text) == bool(compiled.search(text)), text


@settings(deadline=None, max_examples=60)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=8), st.booleans())
def test_the_two_readings_hold_all_engines_between_them(
    pattern: str, texts: list[str], search: bool
) -> None:
    python_regex(pattern)
    sure, maybe = (lowered(pattern, search=search, widest=widest) for widest in (False, True))
    for flags in (re.ASCII, re.UNICODE):
        match = getattr(re.compile(pattern, flags), "search" if search else "fullmatch")
        for text in texts if sure and maybe else ():
            assert accepts(sure, text) <= bool(match(text)) <= accepts(maybe, text), text


ATOMS = ["a", "[ab]", "ab", "(?:a|b)", "(?:a|ab)"]
if sys.version_info >= (3, 11, 5):
    # Before, a possessive loop kept what an iteration that failed had read: (?:b(?=a))*+b does
    # not match "b" there (CPython issue 106052).
    ATOMS.append("b(?=a)")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="re has no possessive quantifiers")
@settings(deadline=None, max_examples=200)
@given(st.data())
def test_possessive_and_atomic_as_in_python(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(ATOMS))
    form = data.draw(st.sampled_from(["{}*+", "{}++", "{}?+", "{}{{1,2}}+", "(?>{})", "(?>{}*?)"]))
    other = data.draw(st.sampled_from(["(?>{}|{}a|b)", "{}{}", "(?:{}|{})*", "{}b{}"]))
    pattern = other.format(form.format(f"(?:{item})"), data.draw(st.sampled_from(["a", "b", ""])))
    grammar = lowered(pattern)
    for text in map("".join, product("ab", repeat=4)) if grammar else ():
        for end in range(5):
            assert accepts(grammar, text[:end]) == bool(re.fullmatch(pattern, text[:end]))


def test_a_possessive_loop_gives_back_an_iteration_that_failed() -> None:
    grammar = lowered("(?:b(?=a))*+b")
    assert grammar
    assert accepts(grammar, "b")
    assert not accepts(grammar, "bb")


def python_regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.ASCII)
    except re.error:  # a look behind of no fixed width: Python's own limit
        with pytest.raises(errors.InvalidConstraint):
            lower("(?a)" + pattern)
        reject()


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
def test_garbage_is_refused_like_python_or_more_strictly(pattern: str) -> None:
    grammar = lowered_or_invalid(pattern)
    if grammar is not None and not re.search(r"\(\?<[^=!]|\\P", pattern):
        re.compile(pattern)


def lowered_or_invalid(pattern: str) -> ir.Grammar | None:
    try:
        return lowered(pattern)
    except (errors.InvalidConstraint, errors.ConstraintLimitExceeded):
        return None


def test_nesting_up_to_the_limit_works() -> None:
    pattern = "(a|b" * MAX_NESTING + ")*" * MAX_NESTING
    assert matches(pattern, "abba")
    assert not matches(pattern, "abc")
    assert hash(lower(pattern)) == hash(lower(pattern))


@pytest.mark.parametrize(
    "pattern",
    ["(" * 30_000, "(" * 30_000 + ")" * 30_000, "a" * (MAX_PATTERN_LEN + 1), "(?=a)" * 20_000],
    ids=["open", "nested", "long", "looks"],
)
def test_limits(pattern: str) -> None:
    with pytest.raises(errors.ConstraintLimitExceeded):
        lower(pattern)


HOSTILE = {
    "counts in counts": "(a{1,1000}){1,1000}",
    "empty in a loop": "^(|.*)$",
    "all literal": "a" * MAX_PATTERN_LEN,
    "all bars": "a|" * 49_999,
    "all anchors": "^" * 50_000 + "$" * 50_000,
    "all boundaries": r"\b" * 50_000,
    "long look behind": "(?<=" + "a" * 5_000 + ")b",
    "long look ahead in a loop": "(?:(?!" + "a" * 3_000 + ").)*",
    "exponential look ahead": "(?:(?!.*a.{12}b).)*",
    "boundaries in nested loops": r"(?:\ba?" * 99 + "a" + ")*" * 99,
    "boundaries before a long text": "(?:" + "|".join([r"\ba"] * 10_000) + ")" + "a" * 50_000,
    "many sets behind": "".join(f"(?<=[a-\\U{code:08x}])" for code in range(256, 4_000)),
    "many sets around": "(?:" + "".join(f"(?<=[a-{chr(256 + n)}])." for n in range(2_000)) + ")*",
    "atomic alternatives": "(?>" + "|".join(f"a{{{n}}}" for n in range(2_000)) + ")",
    "counted nothing": "(?:(?:^|){1000000}){1000000}",
    "nested negations": "(?!" * 99 + "a" + ")" * 99,
    "open sets": "[a" * 50_000,
    "open groups": "(" * 99 + "a",
    "properties": r"\p{L}" * 16_000,
}


@pytest.mark.parametrize("pattern", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("search", [False, True])
def test_hostile_patterns_are_answered_in_time(pattern: str, search: bool) -> None:
    dialect = Dialect.ECMA if search else Dialect.PYTHON
    with contextlib.suppress(errors.ConstraintError):
        lower(pattern, dialect=dialect, search=search)


def test_the_table_of_what_is_supported_names_its_errors() -> None:
    with pytest.raises(errors.UnsupportedConstraint) as caught:
        lower(r"(a)\1")
    assert caught.value.keyword in SUPPORTED
    assert SUPPORTED[caught.value.keyword].startswith("refused")
