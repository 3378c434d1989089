"""Whole texts through mask, forcing and rollback, a line each; `support.trace` has the notation."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from support.trace import check_trace

from sestina.backend.tokenizer import ByteTokenizer, Tokenizer
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import Constraint, choices, json_schema, regex

BYTES = ByteTokenizer()

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 8, "maximum": 12}, "on": {"const": True}},
    "required": ["x", "on"],
    "additionalProperties": False,
}
TREE = {
    "type": "array",
    "items": {"$ref": "#"},
    "maxItems": 1,
}


@pytest.fixture(scope="session")
def bpe(make_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    """Merges as JSON and English make them; `encode` takes the longest token at each place."""
    merges = ['{"', '":', '": ', '": "', '", "', '"}', ", ", "[]", "[["]
    merges += ["name", "na", "me", "ab", "abc", "bc", "true", "tru", "12", "10", "é", "aé"]
    return make_tokenizer(merges=tuple(merge.encode() for merge in merges))


@pytest.mark.parametrize(
    ("constraint", "trace"),
    [
        # One text only: forced to its end, which is sampled.
        (regex("ab"), ["a‧b", "✖c‧≺EOS≻"]),
        # The text may end before it must go on: nothing is forced there.
        (regex("a(bc)?"), ["a", "✖a‧≺EOS≻"]),
        (regex("a(bc)?"), ["a", "✖c‧b", "c", "✖b‧≺EOS≻"]),
        (regex("(ab){2}c?"), ["a‧b‧a‧b", "c‧✖c‧≺EOS≻"]),
        # Nothing follows an end, not even another.
        (regex("a*"), ["", "a‧≺EOS≻‧✖a✖≺EOS≻"]),
        (choices(["yes", "year", "no"]), ["", "✖e‧y", "e", "✖≺EOS≻‧a", "r", "✖r‧≺EOS≻"]),
        # Half a character is no end, and never forced.
        (regex("é|à"), ["", "«c3»✖«a8»✖≺EOS≻‧«a0»‧≺EOS≻"]),
        (regex("a{2,3}"), ["a‧a", "✖b‧a‧✖a‧≺EOS≻"]),
        # A control token's spelling is text, the token is none.
        (regex(".*"), ["", "<✖≺<|im_start|>≻‧|‧≺EOS≻"]),
    ],
)
def test_bytes(constraint: Constraint, trace: list[str]) -> None:
    check_trace(constraint, BYTES, trace)


@pytest.mark.parametrize(
    ("constraint", "trace"),
    [
        # "ab" is forced, but what the model writes next may merge with it: abc is a token.
        (regex("ab[cd]"), ["", "✖c‧abc‧≺EOS≻"]),
        (regex("ab[cd]"), ["", "ab‧✖ab‧d‧≺EOS≻"]),
        # No token begins with b and d: forced after all.
        (regex("abd[a-z]"), ["ab‧d", "✖12‧✖ab‧b‧✖b‧≺EOS≻"]),
        (regex("(true|tr?y)!"), ["", "✖!‧tru", "e‧!", "≺EOS≻"]),
        (
            json_schema(POINT, whitespace="compact"),
            # 12 may go on: 12.0 is the same number.
            ['{"‧x‧":', '✖": ✖7‧12', "", ",", '"‧o‧n‧":‧true‧}', "✖}‧≺EOS≻"],
        ),
        # Where a space may follow, the token before it may hold the space.
        (
            json_schema(POINT),
            ['{"‧x', '": ‧✖ ‧1✖≺EOS≻‧0', "", ", ", '"‧o‧n', '":‧ ', "true‧}", "✖}‧≺EOS≻"],
        ),
        (json_schema(TREE), ["", "[[✖,‧[]✖[]✖, ", "]‧]", "✖]‧≺EOS≻"]),
        (json_schema(TREE), ["", "[]✖[]‧≺EOS≻"]),
        # A character in two tokens, and in one with the letter before it.
        (regex("aé?"), ["", "a‧«c3»✖≺EOS≻‧«a9»‧≺EOS≻"]),
        (regex("aé?"), ["", "aé‧✖é‧≺EOS≻"]),
    ],
)
def test_merges(constraint: Constraint, trace: list[str], bpe: Tokenizer) -> None:
    check_trace(constraint, bpe, trace)


def test_a_control_token_inside_a_text(bpe: Tokenizer) -> None:
    call = ir.Grammar(
        ir.Concat((ir.star(ir.byte_range(97, 122)), ir.Special("<call>"), ir.literal("12")))
    )
    check_trace(call, bpe, ["", "name‧✖≺EOS≻✖≺<end>≻‧≺<call>≻", "12", "✖≺<call>≻‧≺EOS≻"])


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        (["x"], "after '': forced is '', not 'x'"),
        (["", "x", "a"], "after 'x': forced is 'a‧b', not 'a'"),
        (["", "a‧b"], "after 'a': 'b' is forced before 'b'"),
        (["", "✖a"], "after '': 'a' is allowed"),
        (["", "e"], "after '': 'e' is refused"),
        (["", "a", "b", "c‧c"], "after 'a‧b‧c': 'c' is refused"),
        (["", "a", "b", "≺EOS≻"], "'≺EOS≻' is refused"),
    ],
)
def test_a_wrong_trace_fails(trace: list[str], says: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(says)):
        check_trace(regex("x?ab[cd]"), BYTES, trace)
