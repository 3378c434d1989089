"""String keywords together: all of them are about the decoded value, whatever its spelling."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ir_matcher import accepts

from sestina.lang import errors
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import json_schema

ALPHABET = 'aé😀"\\/\n\x01\x7f '
TEXTS = st.text(ALPHABET, max_size=6)


def grammar_of(schema: Any) -> ir.Grammar:
    try:
        return json_schema(schema).to_grammar()
    except errors.UnsatisfiableConstraint:
        return ir.Grammar(ir.NOTHING)


PATTERNS = {
    r"^[^a]*$": lambda t: "a" not in t,
    r'["\\]': lambda t: '"' in t or "\\" in t,
    r"😀": lambda t: "😀" in t,
    r"^.": lambda t: t[:1] not in ("", "\n"),
    r"^(?:a|é😀)+$": lambda t: re.fullmatch("(?:a|é😀)+", t) is not None,
}


@settings(deadline=None, max_examples=300)
@given(
    st.lists(TEXTS, min_size=1, max_size=6),
    st.none() | st.integers(0, 3),
    st.none() | st.integers(0, 5),
    st.none() | st.sampled_from(sorted(PATTERNS)),
    st.none() | st.lists(TEXTS, min_size=1, max_size=4),
    st.none() | st.sampled_from(["uri-reference", "json-pointer"]),
)
def test_keywords_hold_together(
    texts: list[str],
    low: int | None,
    high: int | None,
    pattern: str | None,
    members: list[str] | None,
    format_name: str | None,
) -> None:
    keywords = {
        "minLength": low,
        "maxLength": high,
        "pattern": pattern,
        "enum": members,
        "format": format_name,
    }
    schema = {"type": "string"} | {k: v for k, v in keywords.items() if v is not None}
    grammar = grammar_of(schema)
    for text in texts + (members or []):
        is_valid = (
            (low is None or len(text) >= low)
            and (high is None or len(text) <= high)
            and (pattern is None or PATTERNS[pattern](text))
            and (members is None or text in members)
            and (format_name != "json-pointer" or text[:1] in ("", "/"))
            and (format_name != "uri-reference" or re.fullmatch("[a/]*", text) is not None)
        )
        assert accepts(grammar, json.dumps(text, ensure_ascii=False)) == is_valid, (text, schema)


CONSTRAINED = [
    {"pattern": "^[^b]*$"},
    {"pattern": "^[^b]*$", "maxLength": 9},
    {"format": "json-pointer"},
    {"enum": ["/a", "/😀"]},
    {"not": {"pattern": "b"}},
    {"not": {"const": "/b"}},
]


@pytest.mark.parametrize("schema", CONSTRAINED, ids=str)
@pytest.mark.parametrize(
    "text", [r'"\/a"', r'"/\u0061"', r'"/\u0062"', r'"\u002fb"', r'"/\ud83d\ude00"', r'"/\ud83d"']
)
def test_no_escape_hides_a_character(schema: dict[str, Any], text: str) -> None:
    assert not accepts(grammar_of({"type": "string", **schema}), text)


@settings(deadline=None, max_examples=200)
@given(st.text(ALPHABET, max_size=5))
def test_lengths_alone_leave_every_spelling(text: str) -> None:
    grammar = grammar_of({"type": "string", "minLength": len(text), "maxLength": len(text)})
    every = "".join(f"\\u{unit:04X}" for unit in utf16(text))
    for spelling in (json.dumps(text), json.dumps(text, ensure_ascii=False), f'"{every}"'):
        assert accepts(grammar, spelling)
        assert not accepts(grammar, spelling[:-1] + 'x"')


def utf16(text: str) -> list[int]:
    data = text.encode("utf-16-be")
    return [data[i] << 8 | data[i + 1] for i in range(0, len(data), 2)]


def test_an_unknown_format_is_an_annotation_beside_the_rest() -> None:
    constraint = json_schema({"type": "string", "format": "phone", "maxLength": 1})
    assert accepts(constraint.to_grammar(), '"a"')
    assert not accepts(constraint.to_grammar(), '"ab"')
    assert constraint.report().annotations == ("/ format",)
