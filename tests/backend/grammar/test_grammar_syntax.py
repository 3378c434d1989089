"""Grammar sources all the way: compiled over a vocabulary and walked by their masks."""

from __future__ import annotations

import random
from typing import Any

import lark
import numpy as np
import pytest

from sestina.backend.grammar import Matcher, compile_constraint
from sestina.lang.constraint import grammar
from sestina.lang.errors import InvalidConstraint

CALCULATOR = """
start: line+
line: expr ";" | NAME "=" expr ";"
?expr: expr ("+" | "-") term | term
?term: term ("*" | "/") factor | factor
?factor: "-" factor | NUMBER | NAME | "(" expr ")"
NAME: /[a-c]+/
NUMBER: /[0-9]+/ ("." /[0-9]+/)?
%ignore /[ \\n]+/
%ignore /#[^\\n]*/
"""


def allowed(matcher: Matcher) -> list[int]:
    row = np.full(matcher.grammar.trie.num_words + 1, -1, np.int32)
    matcher.fill_mask(row)
    bits = np.unpackbits(row.view(np.uint8), bitorder="little")
    ids: list[int] = np.flatnonzero(bits).tolist()
    return ids


def test_what_masks_allow_lark_parses(tokenizer: Any) -> None:
    """Random walks to the end; changed texts get the same verdict from both."""
    compiled = compile_constraint(grammar(CALCULATOR), tokenizer)
    automaton = compiled.automaton
    parser = lark.Lark(CALCULATOR, parser="earley", lexer="dynamic_complete", ambiguity="forest")
    draw = random.Random(3)
    for _ in range(6):
        text = walk(compiled.matcher(), tokenizer, draw)
        for shown in (text, *(changed(text, draw) for _ in range(3))):
            state = automaton.advance(automaton.start, shown.encode())
            assert automaton.is_accepting(state) == parses(parser, shown), shown
        assert parses(parser, text)


def walk(matcher: Matcher, tokenizer: Any, draw: random.Random) -> str:
    """A text that the masks allow, of ASCII tokens, favouring an early end."""
    out = b""
    while True:
        ids = allowed(matcher)
        assert ids
        if matcher.is_accepting() and (len(out) > 12 or draw.random() < 0.3):
            assert tokenizer.eos_ids[0] in ids
            return out.decode()
        plain = [i for i in ids if tokenizer.token_bytes(i).isascii()]
        plain = [i for i in plain if 1 <= len(tokenizer.token_bytes(i)) <= 4]
        closing = [i for i in plain if tokenizer.token_bytes(i) in (b")", b";", b"1", b"\n")]
        chosen = draw.choice(closing if closing and len(out) > 8 else plain)
        assert matcher.accept_token(chosen)
        out += tokenizer.token_bytes(chosen)


def changed(text: str, draw: random.Random) -> str:
    at = draw.randrange(len(text) + 1)
    return (
        text[:at] + draw.choice(["", "a", "1", "(", ")", " ", "#", "\n", ";", "+"]) + text[at + 1 :]
    )


def parses(parser: lark.Lark, text: str) -> bool:
    try:
        parser.parse(text)
    except lark.exceptions.UnexpectedInput:
        return False
    except RuntimeError as error:  # two parses that differ in what they ignore
        return "multiple start symbol items" in str(error)
    return True


@pytest.mark.parametrize(
    "source", ['start: ("a" <call> "b")+ <end>', 'root ::= ("a" <call> "b")+ <end>']
)
def test_control_tokens_are_their_ids(source: str, tokenizer: Any) -> None:
    matcher = compile_constraint(grammar(source), tokenizer).matcher()
    control = tokenizer.control_ids
    assert control["<call>"] not in allowed(matcher)
    for token in (*b"a", control["<call>"], *b"b"):
        assert matcher.accept_token(token)
    assert set(allowed(matcher)) == {control["<end>"], ord("a")}
    assert matcher.accept_token(control["<end>"])
    assert matcher.is_complete()


def test_a_control_token_that_the_vocabulary_lacks(tokenizer: Any) -> None:
    with pytest.raises(InvalidConstraint, match=r"no control token '<\|nowhere\|>'"):
        compile_constraint(grammar("start: <|nowhere|>"), tokenizer)
