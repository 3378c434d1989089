"""Grammar sources: what they derive, what is refused and where, and how little that costs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lark
import pytest

from sestina.backend.grammar import compile_automaton
from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.grammar_syntax import lower

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
