"""Grammar sources: what they derive, what is refused and where, and how little that costs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.backend.grammar import compile_automaton
from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import Grammar, from_data, grammar
from sestina.lang.grammar_syntax import MAX_SOURCE_LEN, detect, lower
from sestina.lang.grammar_syntax.common_terminals import common_terminal
from sestina.lang.grammar_syntax.lark_body import either_case
from sestina.lang.grammar_syntax.references import mentions, postorder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATA = Path(__file__).parents[1] / "data/grammars"
LARK, GBNF = (tomllib.loads((DATA / f"{name}.toml").read_text()) for name in ("lark", "gbnf"))
CASES = [*LARK["case"], *GBNF["case"]]
REFUSED = [*LARK["refused"], *GBNF["refused"]]


def acceptor(source: ir.Grammar) -> Callable[[str], bool]:
    automaton = compile_automaton(source)
    return lambda text: automaton.is_accepting(automaton.advance(automaton.start, text.encode()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_table(case: dict[str, Any]) -> None:
    accepts = acceptor(lower(case["source"]))
    assert [t for t in case["accepts"] + case["rejects"] if accepts(t)] == case["accepts"]


@pytest.mark.parametrize("case", LARK["case"], ids=lambda case: case["name"])
def test_lark_says_the_same(case: dict[str, Any]) -> None:
    if case.get("not_larks") is True:
        pytest.skip("beyond lark's own notation")
    parser = lark.Lark(case["source"], parser="earley", lexer="dynamic_complete")
    for text in (*case["accepts"], *case["rejects"]):
        if text not in case.get("not_larks", ()):
            assert parses(parser, text) == (text in case["accepts"]), text


def parses(parser: lark.Lark, text: str) -> bool:
    try:
        parser.parse(text)
    except lark.exceptions.UnexpectedInput:
        return False
    return True


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["source"] or "nothing")
def test_refusals_point_at_the_place(case: dict[str, Any]) -> None:
    with pytest.raises(errors.ConstraintError, match=re.escape(case["says"])) as caught:
        lower(case["source"], "gbnf" if case in GBNF["refused"] else "lark")
    assert (type(caught.value).__name__, caught.value.position) == (case["kind"], case["at"])
    assert "^" in str(caught.value).splitlines()[-1]


# ---- the two notations


def test_the_first_rule_tells_the_notation() -> None:
    assert detect('\n# a: "x"\nroot ::= "a: b"') == "gbnf"
    assert detect('// root ::= "a"\nstart: /a ::= b/') == "lark"
    assert lower('start ::= "ab"', "gbnf", "start") == lower('start: "ab"', "lark")
    with pytest.raises(errors.InvalidConstraint, match="unexpected ':'"):
        lower('root ::= "a"', "lark")


def test_another_start() -> None:
    source = 'start: "a" b\nb: "b" T\nT: "t"\n'
    assert acceptor(lower(source, start="b"))("bt")
    assert acceptor(lower(source, start="T"))("t")
    assert grammar(source, start="b") != grammar(source)
    assert from_data(grammar(source, start="b").to_data()) == Grammar(source, "auto", "b")


def outcome_of(source: str, syntax: str = "auto") -> ir.Grammar | errors.ConstraintError:
    try:
        return lower(source, syntax)
    except errors.ConstraintError as error:
        return error


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet='start:ab"/|()[]{}*+?~.,#->=<%&\\ \nX1', max_size=30))
def test_garbage_is_a_clear_error_or_a_grammar(source: str) -> None:
    for syntax, prefix in (("lark", "start: "), ("gbnf", "root ::= ")):
        outcome = outcome_of(prefix + source, syntax)
        assert isinstance(outcome, ir.Grammar) or outcome.position is not None


# ---- atoms


@pytest.mark.parametrize("letter", [*map(chr, range(0x20, 0x250)), "Σ", "ς", "\u017f", "\u212a"])
def test_either_case_is_what_every_engine_agrees_on(letter: str) -> None:
    accepts = acceptor(ir.Grammar(either_case(letter)))
    assert accepts(letter)
    for form in {letter.lower(), letter.upper(), letter.swapcase(), letter.title()}:
        if accepts(form):
            assert re.fullmatch(re.escape(letter), form, re.IGNORECASE), form
    if letter.isascii():
        assert accepts(letter.swapcase())


def lark_common() -> dict[str, re.Pattern[str]]:
    names = re.findall(r"^(_?[A-Z_]+) *:", COMMON_SOURCE, re.MULTILINE)
    names = [name for name in names if name not in LAZY_PARTS]
    source = f"start: {' '.join(names)}\n" + COMMON_SOURCE
    parser = lark.Lark(source, parser="earley", lexer="dynamic")
    found = {t.name: re.compile(t.pattern.to_regexp()) for t in parser.terminals}
    assert set(names) <= found.keys()
    return {name: found[name] for name in names}


COMMON_SOURCE = (Path(lark.__file__).parent / "grammars/common.lark").read_text()
LAZY_PARTS = {"_STRING_INNER", "_STRING_ESC_INNER"}


def test_common_terminals_are_larks() -> None:
    texts = [
        *("", "0", "7f", "12", "-3", "+4", "1.", ".5", "1.5", "1e5", "-1.5E-3", "1e", "e5", "."),
        *("a", "Ab", "_a1", "1a", "é", "a b", " ", "\t ", "\r\n", "\n\n", "\r", "\n\r\n", "\f"),
        *('"', '""', '"a"', '"a"b"', '"a\\"', '"\\\\"', '"\\""', '"a\nb"', '"\\\n"', '"\\\\\\""'),
        *("#", "# a", "# a\n", "//", "// a", "/ a", "--", "-- a\n", "-- a", "/**/", "/*/", "/***/"),
        *("/* a */", "/* a */ b */", "/* a * / */", "/* \n **/", "/* a", "F", "g", "f"),
    ]
    for name, pattern in lark_common().items():
        ours = common_terminal(name)
        assert ours is not None, name
        accepts = acceptor(ir.Grammar(ours))
        for text in texts:
            # The lexer's own match, which a lazy quantifier ends early.
            found = pattern.match(text)
            assert accepts(text) == (found is not None and found.end() == len(text)), (name, text)


# ---- ignored text


def test_ignored_text_does_not_stop_early_for_the_next_terminal() -> None:
    source = (
        'start: "(" WORD? ")"\nWORD: /[a-z]+/\n%ignore /#[^\\n]*/\n%ignore " "\n%ignore "\\n"\n'
    )
    accepts = acceptor(lower(source))
    taken = [t for t in ("( # b )\n)# )", "(#\n#\nb )", "( # b )", "(#)") if accepts(t)]
    assert taken == ["( # b )\n)# )", "(#\n#\nb )"]


@pytest.mark.parametrize(
    ("ignored", "between"),
    [
        (r"/\s+/", " \n\t"),
        ('"//" /.*/', "// é\n"),
        (r"/\/\*[^*]*\*+([^*\/][^*]*\*+)*\//", "/* x **/"),
        (r"/\{[^}]*\}/", "{x}{}"),
        (r"/\\[ \t]*\r?\n/", "\\ \n"),
    ],
)
def test_usual_forms_of_ignored_text(ignored: str, between: str) -> None:
    accepts = acceptor(lower(f'start: "x" "x"\n%ignore {ignored}\n%ignore "\\n"\n'))
    assert accepts(f"{between}x{between}x{between}")
    assert not accepts(f"x{between}")


@pytest.mark.parametrize(
    ("ignored", "kind"),
    [
        ("/[ab]*a/", errors.UnsupportedConstraint),
        ('"a" "b"?', errors.UnsupportedConstraint),
        ('"a"~2..3', errors.UnsupportedConstraint),
        ("/ */", errors.InvalidConstraint),
    ],
)
def test_ignored_text_that_has_no_clear_end(ignored: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        lower(f'start: "x"\n%ignore {ignored}\n')
    assert caught.value.position == 11  # type: ignore[attr-defined]


# ---- rewriting


def test_regular_rules_leave_no_recursion() -> None:
    """What only repeats becomes a repetition: a runtime treats it in one piece."""
    for source in (
        'start: start "," item | item\nitem: /[a-z]+/',
        'start: "x" start | "y"',
        'start: start start | "x"',
        'start: start "+" start | start "*" start | "x"',
        'root ::= chars\nchars ::= "" | [a-z] chars',
    ):
        grammar = lower(source)
        assert not any(name in mentions(body) for name, body in grammar.rules.items()), source


def test_small_definitions_are_written_out_and_doubling_ones_are_not() -> None:
    lines = "".join(f"A{i}: A{i + 1} A{i + 1}\n" for i in range(60))
    grammar = lower(f'start: A0 B\n{lines}A60: "x"\nB: "b"~2\n')
    assert sum(len(postorder(body)) for body in grammar.rules.values()) < 5_000
    assert "B" not in grammar.rules


# ---- limits: an answer or a clear error, soon


CHAIN = range(2_000)
HOSTILE = {
    "nested groups": "start: " + "(" * 60_000 + '"a"' + ")" * 60_000,
    "open groups": "start: " + "[" * 10_000,
    "long": "x" * (MAX_SOURCE_LEN + 1),
    "long string": f'start: "{"a" * 200_000}"',
    "long comment": 'start: "a" #' + "#" * 200_000,
    "many lines": 'start: "a"\n' + "\n" * 200_000 + "|",
    "mutual left recursion": "start: a0\n"
    + "".join(f'a{i}: a{i + 1} "x" | "y"\n' for i in CHAIN)
    + f'a{len(CHAIN)}: a0 "z"',
    "dense left recursion": "start: a0\n"
    + "".join(f"a{i}: {' | '.join(f'a{j}' for j in range(60))} | \n" for i in range(60)),
    "nullable prefix": "start: " + "a? " * 20_000 + '\na: start? "x"',
    "nullable chain": "start: a0\n"
    + "".join(f"a{i}: a{i + 1} a{i + 1}\n" for i in range(200))
    + 'a200: "x"?',
    "ambiguous": "start: " + "start " * 20_000 + '| "x"',
    "unit cycle": "start: a0\n" + "".join(f"a{i}: a{i + 1}\n" for i in CHAIN) + "a2000: a0",
    "growing templates": "start: s{a}\na: /x/\ns{x}: "
    + " ".join(f's{{"{i}"}}' for i in range(11_000)),
    "repeat counts": "start: " + "(" * 90 + '"a"' + "~0..1000000)" * 90,
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_sources(source: str) -> None:
    """Each takes well under a second; what is asserted is that none recurses or runs away."""
    outcome = outcome_of(source)
    if isinstance(outcome, ir.Grammar):
        assert sum(len(postorder(body)) for body in outcome.rules.values()) < 300_000


def test_a_rewrite_that_grows_names_the_rule() -> None:
    with pytest.raises(errors.ConstraintLimitExceeded, match="left recursion of rule a0") as caught:
        lower(HOSTILE["mutual left recursion"])
    assert caught.value.position == len("start: a0\n")


def test_lowered_schemas_keep_their_errors() -> None:
    schema = json.dumps({"properties": {"a": {"type": 7}}})
    with pytest.raises(errors.InvalidConstraint) as caught:
        lower(f'start: "x" %json {schema}')
    assert caught.value.pointer == "/properties/a"
    assert caught.value.position == 11
