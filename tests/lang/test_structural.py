"""Free text with constrained parts in it, against a plain scanner of the text."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.walks import TOKENIZER, walks

from sestina.backend.grammar import compile_automaton, compile_grammar
from sestina.lang import constraint as c
from sestina.lang.constraint import Constraint, choices, json_schema, regex
from sestina.lang.errors import InvalidConstraint, UnsupportedConstraint
from sestina.lang.structural import FreeText, Tag, free_text, special, tag, thinking, triggered


def accepted(constraint: Constraint, texts: list[str]) -> list[str]:
    automaton = compile_automaton(constraint.to_grammar())
    ends = [(text, automaton.advance(automaton.start, text.encode())) for text in texts]
    return [text for text, state in ends if state and automaton.is_accepting(state)]


# ---- the oracle -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """begin, pattern (None: free text up to the first end) and end of each tag, and the options."""

    tags: tuple[tuple[str, str | None, str], ...]
    triggers: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    at_least_one: bool = False
    stop_after_first: bool = False

    def constraint(self) -> Constraint:
        return triggered(
            [tag(b, free_text() if p is None else regex(p), e) for b, p, e in self.tags],
            triggers=self.triggers,
            excludes=self.excludes,
            at_least_one=self.at_least_one,
            stop_after_first=self.stop_after_first,
        )


def scan(form: Form, text: str) -> bool:
    """Read the text character by character; a trigger counts as soon as it is complete."""

    @functools.cache
    def free(start: int) -> bool:
        for end in range(start, len(text) + 1):
            region = text[start:end]
            if region.endswith(form.excludes):
                return False
            for trigger in form.triggers:
                if region.endswith(trigger):
                    return call(trigger, end - len(trigger))
        return True

    def call(trigger: str, at: int) -> bool:
        for begin, pattern, end in form.tags:
            if not begin.startswith(trigger) or not text.startswith(begin, at):
                continue
            inside = at + len(begin)
            for stop in range(inside, len(text) + 1):
                if not text.startswith(end, stop):
                    continue
                body = text[inside:stop]
                fits = True if pattern is None else re.fullmatch(pattern, body)
                if fits and after(stop + len(end)):
                    return True
                if pattern is None:
                    break  # free text goes to the first end
        return False

    def after(place: int) -> bool:
        return place == len(text) if form.stop_after_first else free(place)

    return any(call(t, 0) for t in form.triggers) if form.at_least_one else free(0)


TRIGGERS = ["<", "<a", "aba", "<<a", "é<", "bb"]
BODIES = {"[ab]*": "ab", "1|11": "11", "b?": "", None: "x<"}
PARTS = [*TRIGGERS, "a", "b", "1", "11", ">", "</", "é", "x", "ab", "\n"]


@st.composite
def forms(draw: st.DrawFn) -> Form:
    triggers = draw(st.lists(st.sampled_from(TRIGGERS), min_size=1, max_size=2, unique=True))
    tags = [
        (trigger + draw(st.sampled_from(["", ">", "b", "é"])), pattern, end)
        for trigger in triggers
        for pattern, end in draw(
            st.lists(
                st.tuples(
                    st.sampled_from(list(BODIES)),
                    st.sampled_from([">", "</", "ab", "<1"]),
                ),
                min_size=1,
                max_size=2,
            )
        )
    ]
    return Form(
        tuple(tags),
        tuple(triggers),
        tuple(draw(st.lists(st.sampled_from(["x", "b<", "1a", "<<"]), max_size=1))),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@settings(max_examples=120)
@given(forms(), st.data())
def test_the_automaton_reads_like_the_scanner(form: Form, data: st.DataObject) -> None:
    try:
        constraint = form.constraint()
    except InvalidConstraint:
        assume(False)
    pieces = PARTS + [text for begin, _, end in form.tags for text in (begin, end)]
    calls = [begin + BODIES[pattern] + end for begin, pattern, end in form.tags]
    pieces += calls * (len(pieces) // len(calls))
    many = st.lists(st.lists(st.sampled_from(pieces), max_size=7).map("".join), max_size=25)
    texts = data.draw(many)
    assert accepted(constraint, texts) == [text for text in texts if scan(form, text)]


@pytest.mark.parametrize(
    "form",
    [
        Form((("<sum>", "[0-9]{1,3}", "</sum>"), ("<note>", None, "</note>")), ("<sum>", "<note>")),
        Form((("aba", "(xy)?", "ab"),), ("aba",), ("zz",)),
        Form((("<f=a>", "1", "</f>"), ("<f=b>", None, "</f>")), ("<f=",), (), True, True),
        Form((("<f=a>", "1", "</f>"), ("<f=b>", None, "</f>")), ("<f=",), (), False, True),
    ],
    ids=repr,
)
def test_random_tokens_read_back(form: Form) -> None:
    """Tokens straddle every boundary, and still no trigger is in the free text."""
    hints = [text.encode() for begin, _, end in form.tags for text in (begin, end, end)]
    found = [TOKENIZER.decode(ids) for ids in walks(form.constraint(), hints)]
    assert all(scan(form, text) for text in found)
    assert any(begin in text for text in found for begin, _, _ in form.tags)


# ---- tables -----------------------------------------------------------------------------------

SUMS = triggered([tag("<sum>", regex("[0-9]+"), "</sum>")])


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (
            SUMS,
            ["", "hi", "<su", "a<sum>1</sum>", "<sum>1</sum><sum>2</sum>b", "<<sum>1</sum>"],
            ["<sum>", "a<sum>x</sum>", "<sum>1</su", "<sum>1</sum><sum>", "<sum></sum>"],
        ),
        (
            # The trigger is complete after "aba", so what comes then must be "c", not "bac".
            triggered([tag("abac", choices(["1"]), "")], triggers=["aba"]),
            ["ab", "abac1", "babac1ab"],
            ["ababac1", "aba", "abab"],
        ),
        (
            triggered([tag("bb>", "1", "")], triggers=["bb"]),
            ["b", "bb>1", "abb>1b"],
            ["bbb>1", "bb", "bb1"],
        ),
        (
            triggered([tag("<a>", "x", ["</a>", "<a/>"])], excludes=["bad", "<b"]),
            ["<a>x</a>", "ba<a>x<a/>d", "<a"],
            ["bad", "<a>x</a>bad", "<b", "<a>x"],
        ),
        (
            tag("<r>", SUMS, "</r>"),
            ["<r></r>", "<r>a<sum>1</sum>b</r>", "<r></r</r>"],
            ["<r>", "<r></r></r>", "<r><sum></r>", "<r>a</r>b"],
        ),
        (
            tag("<r>", "x" + free_text(excludes=["y", "</r>"]) | "z", "</r>"),
            ["<r>x</r>", "<r>xab</r>", "<r>z</r>"],
            ["<r>xy</r>", "<r>x</r></r>", "<r>zz</r>"],
        ),
        (
            tag("<r>", "a" + tag("<i>", free_text(), ""), "</r>"),
            ["<r>a<i></r>", "<r>a<i>b</r>"],
            ["<r>a<i></r></r>", "<r>b</r>"],
        ),
        (
            tag("<r>", free_text().optional(), "</r>"),
            ["<r></r>", "<r>ab</r>"],
            ["<r></r></r>", "<r>a</r>b</r>"],
        ),
        (
            tag("<r>", free_text() & regex(".{3,}") & ~choices(["bad"]), ["</r>", "<.>"]),
            ["<r>abc</r>", "<r>abcd<.>"],
            ["<r>a</r>", "<r>bad</r>", "<r>abc<.></r>", "<r></r></r>"],
        ),
        (
            tag("<r>", (free_text(max_chars=2) + "!").repeat(0, 2), "</r>"),
            ["<r></r>", "<r>ab!</r>", "<r>ab!c!</r>"],
            ["<r>ab</r>", "<r>!</r></r>"],
        ),
        (
            free_text(excludes=["ab", "é"], max_chars=3),
            ["", "aaa", "→→→", "ba"],
            ["aaaa", "ab", "cab", "é"],
        ),
        (
            thinking("\n" + choices(["yes", "no"])),
            ["<think></think>\nyes", "<think>a<think></think>\nno"],
            ["\nyes", "<think>a", "<think></think>yes", "<think></think></think>\nno"],
        ),
        (
            thinking(choices(["yes"]), begin="", max_chars=2),
            ["</think>yes", "é→</think>yes"],
            ["yes", "abc</think>yes"],
        ),
        (
            thinking(json_schema({"type": "integer"}), optional=True),
            ["1", "<think>2</think>1"],
            ["<think>2</think>", "<think>1"],
        ),
    ],
)  # fmt: skip
def test_accepts(constraint: Constraint, good: list[str], bad: list[str]) -> None:
    assert accepted(constraint, good + bad) == good
    again = c.from_data(json.loads(json.dumps(constraint.to_data())))
    assert again == constraint
    assert again.to_grammar() == constraint.to_grammar()


def test_free_text_combines_like_any_constraint() -> None:
    short = SUMS & ~free_text(excludes=["sum"]) & regex(".{0,14}")
    assert accepted(short, ["<sum>1</sum>", "sum", "ab", "<sum>12</sum>yz"]) == [
        "<sum>1</sum>",
        "sum",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tag("<a>", "x", ()), "one end or more"),
        (lambda: tag("<a>", "x", ["", "</a>"]), "no other end"),
        (lambda: tag(3, "x", ""), "a string or a control token"),  # type: ignore[arg-type]
        (lambda: tag("a", 3, ""), "a constraint or a string"),  # type: ignore[arg-type]
        (lambda: triggered([]), "one tag or more"),
        (lambda: triggered([regex("a")]), "takes tags"),  # type: ignore[list-item]
        (lambda: triggered([tag("a", "b", "c")], triggers="a"), "the string 'a'"),
        (lambda: triggered([tag("a", "b", "c")], triggers=["x"]), "begins with no trigger"),
        (lambda: triggered([tag("a", "b", "c")], triggers=["a", "x"]), "no tag begins .* 'x'"),
        (lambda: triggered([tag("a", "b", "c"), tag("ba", "b", "c")]), "'ba' contains 'a'"),
        (lambda: triggered([tag("a", "b", "c")], triggers=[""]), "empty"),
        (lambda: triggered([tag("ab", "b", "c")], excludes=["b"]), "'ab' cannot follow"),
        (lambda: tag("<r>", SUMS, "a<sum>").to_grammar(), "'a<sum>' contains '<sum>'"),
        (lambda: tag("<r>", free_text(excludes=["r"]), "</r>").to_grammar(), "'</r>' cannot"),
        (lambda: free_text(excludes="ab"), "the string 'ab'"),
        (lambda: free_text(max_chars=-1), "max_chars"),
        (lambda: free_text(max_chars=True), "max_chars"),
        (lambda: thinking("x", begin="", optional=True), "not optional"),
        (lambda: thinking("x", end=""), "needs an end"),
    ],
)
def test_mistakes(make: Any, message: str) -> None:
    with pytest.raises(InvalidConstraint, match=message):
        make()


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "special"},
        {"kind": "special", "token": 3},
        {"kind": "free_text", "excludes": "ab"},
        {"kind": "free_text", "excludes": [1]},
        {"kind": "free_text", "max_chars": "9"},
        {**tag("a", "b", "c").to_data(), "begin": {"kind": "regex", "pattern": "a"}},
        {**tag("a", "b", "c").to_data(), "ends": {"kind": "text", "text": "a"}},
        {"kind": "triggered", "tags": [{"kind": "free_text"}], "triggers": ["a"]},
        {"kind": "triggered", "tags": [], "triggers": []},
        {**SUMS.to_data(), "at_least_one": 1},
        {**SUMS.to_data(), "triggers": None},
    ],
)  # fmt: skip
def test_hostile_data_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidConstraint):
        c.from_data(data)


# ---- control tokens ---------------------------------------------------------------------------

BEGIN, END = special("<|im_start|>"), special("<|pad|>")


def ids(*parts: str | int) -> list[int]:
    found: list[int] = []
    for part in parts:
        found += [part] if isinstance(part, int) else list(part.encode())
    return found


def test_control_tokens_begin_and_end_tags() -> None:
    calls = triggered([tag(BEGIN, regex("[0-9]"), END), tag("<t>", free_text(), END)])
    grammar = compile_grammar(calls.to_grammar(), TOKENIZER)
    begin, end = (TOKENIZER.control_ids[each.token] for each in (BEGIN, END))

    def accepts(*parts: str | int) -> bool:
        matcher = grammar.matcher()
        return all(map(matcher.accept_token, ids(*parts))) and matcher.is_accepting()

    assert accepts("free ", begin, "1", end, "<t", begin, "2", end, "<t>any", end, "x")
    assert accepts("the text <|im_start|> is no token")
    assert not accepts(begin)
    assert not accepts("a", end)
    assert not accepts(begin, "1", "<|pad|>")
    assert not accepts(begin, "x", end)
    assert not accepts("<t>", begin, "1", end)


def test_random_tokens_with_control_tokens() -> None:
    calls = triggered([tag(BEGIN, regex("[0-9]{2}"), END)])
    begin, end = (TOKENIZER.control_ids[each.token] for each in (BEGIN, END))
    found = walks(calls, [[begin], b"12", [end], b"<|pad|>"])
    assert any(begin in tokens for tokens in found)
    for tokens in found:
        marks = [token for token in tokens if token in (begin, end)]
        assert marks == [begin, end] * (len(marks) // 2)
        for place in (i for i, token in enumerate(tokens) if token == begin):
            inside = tokens[place + 1 : tokens.index(end, place)]
            assert re.fullmatch("[0-9]{2}", TOKENIZER.decode(inside))


def test_control_tokens_that_are_not_there_or_end_the_text_are_refused() -> None:
    with pytest.raises(InvalidConstraint, match="no control token '<tool_call>'"):
        compile_grammar((special("<tool_call>") + "x").to_grammar(), TOKENIZER)
    with pytest.raises(UnsupportedConstraint, match="ends the text"):
        compile_grammar(("x" + special("<|im_end|>")).to_grammar(), TOKENIZER)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tag("<r>", free_text().repeat(0, 2), "</r>"), "again and again"),
        (tag("<r>", ("a" + free_text()).repeat(1, None), "</r>"), "again and again"),
        (tag("<r>", free_text() & ~choices(["a"]), END), "ended by a control token"),
    ],
)
def test_free_text_whose_first_end_is_not_known_is_refused(value: Tag, message: str) -> None:
    with pytest.raises(UnsupportedConstraint, match=message):
        value.to_grammar()


def test_free_text_without_an_end_among_triggers_is_refused() -> None:
    with pytest.raises(UnsupportedConstraint, match="begins '<a>' ends with free text"):
        triggered([tag("<a>", "x" + free_text(), "")])


def test_values_are_what_they_say() -> None:
    value = tag("<a>", free_text(), "</a>")
    assert isinstance(value, Tag)
    assert isinstance(value.content, FreeText)
    assert hash(value) == hash(tag("<a>", free_text(), ["</a>"]))
