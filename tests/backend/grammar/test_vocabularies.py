"""Masks over awkward vocabularies: exactly what accept_token takes, for every token there is."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sestina.backend.grammar import GrammarCompiler, Matcher
from sestina.backend.tokenizer import load_tokenizer
from sestina.backend.weights.fetch import cached_model
from sestina.lang.algebra import Constraint
from sestina.lang.constraint import choices, grammar, json_schema, regex
from sestina.lang.errors import UnsatisfiableConstraint
from sestina.lang.structural import special

QWEN3 = Path(__file__).parents[4] / "shared/data/tokenizers/qwen3"


@dataclass(frozen=True)
class ListedTokenizer:
    """A vocabulary as a list of spellings; control tokens and ends of text by id."""

    tokens: tuple[bytes, ...]
    control_ids: dict[str, int]
    eos_ids: tuple[int, ...]
    bos_id: int | None = None
    chat_template: str | None = None

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    @property
    def fingerprint(self) -> str:
        return repr((self.tokens, self.control_ids, self.eos_ids))

    def token_bytes(self, token_id: int) -> bytes:
        return self.tokens[token_id]

    def encode(self, text: str, *, allow_control: bool = False) -> list[int]:
        return [self.tokens.index(bytes([byte])) for byte in text.encode()]

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")


BYTES = tuple(bytes([b]) for b in range(256))


def byte_fallback() -> ListedTokenizer:
    """SentencePiece's layout: control tokens, 256 bytes, then pieces whose spaces lead.

    A piece of one ASCII character spells what a byte does.
    """
    pieces = [
        " the",
        " ",
        "  ",
        "   ",
        " a",
        " {",
        '{"',
        '":',
        '": "',
        " true",
        "name",
        "é",
        "日本",
    ]
    letters = [chr(c) for c in range(0x20, 0x7F)]
    tokens = (b"", b"", b"", *BYTES, *(piece.encode() for piece in (*pieces, *letters)))
    return ListedTokenizer(tokens, {"<unk>": 0, "<s>": 1, "</s>": 2}, (2,))


def duplicates_and_gaps() -> ListedTokenizer:
    """Three ids for one spelling, unused ids between others, padding beyond the last."""
    words = (b"ab", b"", b"ab", b"", b'{"', b"ab", b"a", b'"', b"", b"12", b"12")
    tokens = (*BYTES, *words, b"", b"", *([b""] * 70))
    return ListedTokenizer(tokens, {"<call>": 267, "<end>": 268}, (268,))


def broken_characters() -> ListedTokenizer:
    """Tokens that begin or end inside a character, or are none of UTF-8 at all."""
    euro, face = "€".encode(), "😀".encode()
    words = (euro[:1], euro[:2], euro[1:], euro[2:], euro[1:] + euro[:2], b"a" + euro[:2])
    odd = (face[:3], face[1:], face[3:] + face[:1], b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80")
    return ListedTokenizer((*BYTES, *words, *odd, b""), {"</s>": 268}, (268,))


def long_tokens() -> ListedTokenizer:
    """Runs longer than the masks' parts look ahead, and what differs only far into them."""
    runs = [ch * n for ch in (b" ", b"a", b"-", b"\n") for n in (31, 32, 33, 34, 63, 64, 65, 200)]
    mixed = [b"a" * 40 + b'"', b'"' + b"a" * 50 + b'"', b'{"name": "' + b"x" * 40, b"ab" * 60]
    tokens = (*BYTES, *runs, *mixed, b"a" * 64, b"")
    return ListedTokenizer(tokens, {"</s>": len(tokens) - 1}, (len(tokens) - 1,))


def spelled_control_tokens() -> ListedTokenizer:
    """Control tokens that the file gives bytes to: they match no text all the same."""
    words = (b"<|im_end|>", b"<|", b"im_end", b"|>", b"<|im_end|>")
    control = {"<|im_end|>": 256, "<|call|>": 261}
    tokens = (*BYTES, b"", *words[1:], b"")
    return ListedTokenizer(tokens, control, (256,))


def few_bytes() -> ListedTokenizer:
    """Not every byte can be written."""
    tokens = (*(bytes([b]) for b in b'{}[]":, abcdefgnrtulsx0123456789.-'), b'{"', b"true", b"")
    return ListedTokenizer(tokens, {"</s>": len(tokens) - 1}, (len(tokens) - 1,))


VOCABULARIES = [
    byte_fallback,
    duplicates_and_gaps,
    broken_characters,
    long_tokens,
    spelled_control_tokens,
    few_bytes,
]

CONSTRAINTS = [
    regex("[^\n]*"),
    regex("(ab|a|12){0,50}"),
    regex(" {0,70}a{30,40}-*"),
    regex("[€😀é日]+a?"),
    regex("(?s).{0,40}"),
    choices(["", "a", "ab", "abab", "<|im_end|>", "a" * 64]),
    json_schema(True),
    json_schema({"type": "object", "properties": {"name": {"type": "string", "maxLength": 45}}}),
    json_schema({"type": "array", "items": {"enum": ["ab", 12, True, "a" * 50]}}),
    grammar('start: "[" start* "]" | /[a-c]+/'),
    ~regex(".*ab.*"),
]


def allowed(matcher: Matcher) -> set[int]:
    """The ids in the mask, in a row that is longer than it needs to be."""
    row = np.full(matcher.grammar.trie.num_words + 2, -1, np.int32)
    matcher.fill_mask(row)
    return set(np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist())


def matchers(tokenizer: Any) -> Iterator[Matcher]:
    """At the start of each constraint that the vocabulary can write a text of."""
    compiler = GrammarCompiler(tokenizer)
    num_made = 0
    for constraint in CONSTRAINTS:
        try:
            yield compiler.compile(constraint).matcher()
        except UnsatisfiableConstraint:
            assert not any("€".encode()[:1] in token for token in tokenizer.tokens)
        else:
            num_made += 1
    assert num_made >= len(CONSTRAINTS) - 1


def check(matcher: Matcher, tokenizer: Any) -> set[int]:
    """The mask against each token: its bytes through the automaton, and accept_token."""
    found = allowed(matcher)
    automaton, state = matcher.grammar.automaton, matcher.state
    control = set(tokenizer.control_ids.values())
    wanted = set()
    for token_id in range(tokenizer.vocab_size):
        data = b"" if token_id in control else tokenizer.token_bytes(token_id)
        if token_id in tokenizer.eos_ids:
            fits = matcher.is_accepting()
        elif token_id in control:
            fits = bool(automaton.step_special(state, token_id))
        else:
            fits = bool(data) and bool(automaton.advance(state, data))
        if fits:
            wanted.add(token_id)
    assert found == wanted
    return found


def check_accepts(matcher: Matcher, found: set[int]) -> None:
    for token_id in range(-2, matcher.grammar.trie.vocab_size + 70):
        taken = matcher.accept_token(token_id)
        assert taken == (token_id in found)
        if taken:
            matcher.rollback(1)


@pytest.mark.parametrize("make", VOCABULARIES, ids=lambda make: make.__name__)
def test_masks_are_what_is_accepted(make: Any) -> None:
    tokenizer = make()
    draw = random.Random(0)
    for start in matchers(tokenizer):
        for _ in range(2):
            matcher = start.fork()
            for _ in range(6):
                found = check(matcher, tokenizer)
                check_accepts(matcher, found)
                others = sorted(found - set(tokenizer.eos_ids))
                if not others:
                    break
                longest = max(others, key=lambda i: len(tokenizer.token_bytes(i)))
                assert matcher.accept_token(draw.choice([longest, draw.choice(others)]))


@pytest.mark.parametrize("make", VOCABULARIES, ids=lambda make: make.__name__)
def test_ends_of_text_exactly_where_it_may_end(make: Any) -> None:
    tokenizer = make()
    matcher = GrammarCompiler(tokenizer).compile(regex("ab?|abab")).matcher()
    for byte, may_end in ((None, False), (b"a", True), (b"b", True), (b"a", False), (b"b", True)):
        if byte is not None:
            assert matcher.accept_token(tokenizer.tokens.index(byte))
        ends = set(tokenizer.eos_ids)
        assert ends & allowed(matcher) == (ends if may_end else set())
    assert allowed(matcher) == set(tokenizer.eos_ids)


def test_text_that_spells_a_control_token_is_text() -> None:
    """Its letters are allowed, the control token is not; and the other way round."""
    tokenizer = spelled_control_tokens()
    end = tokenizer.control_ids["<|im_end|>"]
    compiler = GrammarCompiler(tokenizer)
    matcher = compiler.compile(choices(["<|im_end|>"])).matcher()
    assert check(matcher, tokenizer) == {ord("<"), 257, 260}
    assert matcher.accept_token(260)
    assert allowed(matcher) == {end}  # the end of the text: nothing is left to write
    call = tokenizer.control_ids["<|call|>"]
    matcher = compiler.compile(special("<|call|>") + regex("x")).matcher()
    assert allowed(matcher) == {call}
    assert not any(map(matcher.fork().accept_token, b"<"))


def test_no_text_constraint_allows_a_control_token() -> None:
    for make in VOCABULARIES:
        tokenizer = make()
        inside = set(tokenizer.control_ids.values()) - set(tokenizer.eos_ids)
        for matcher in matchers(tokenizer):
            assert not inside & allowed(matcher)


# ---- real vocabularies ------------------------------------------------------------------------

REAL: list[tuple[Constraint, str]] = [
    (json_schema(True), '{"name": ["été", {"a": -1.5e3, "\\u0001": null}], " ": true}'),
    (
        json_schema(
            {
                "type": "object",
                "properties": {
                    "id": {"type": "integer", "minimum": -5, "maximum": 12345},
                    "when": {"type": "string", "format": "date-time"},
                    "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}},
                    "text": {"type": "string", "maxLength": 60},
                },
                "required": ["id"],
            }
        ),
        '{"id": 1234, "when": "2024-02-29T12:00:00Z", "tags": ["red", "blue"], "text": "日本 x"}',
    ),
    (regex(r"(?:[A-Z][a-z]+ ){1,40}\d{4}-\d{2}"), "The Quick Brown Fox 2024-07"),
    (regex(r"(?s).*?```python\n.*?```"), "Here it is:\n\n```python\nprint('😀')\n    return\n```"),
    (~regex(r"(?s).*(foo|bar).*"), "A fo od, no: fo o and ba r; naïve café"),
    (
        grammar(
            'start: expr\nexpr: expr "+" term | term\nterm: /[0-9]+/ | "(" expr ")"\n%ignore " "'
        ),
        "(12 + (3+ 45)) + 678",
    ),
]


def check_along(tokenizer: Any, every: int) -> int:
    """Whole-vocabulary checks along texts, after each token that encoding gives; how many."""
    compiler = GrammarCompiler(tokenizer)
    num_checked = 0
    for constraint, text in REAL:
        matcher = compiler.compile(constraint).matcher()
        for at, token_id in enumerate(tokenizer.encode(text)):
            if at % every == 0:
                check(matcher, tokenizer)
                num_checked += 1
            assert matcher.accept_token(token_id), text
        assert matcher.is_accepting()
        assert set(tokenizer.eos_ids) <= check(matcher, tokenizer)
    return num_checked


@pytest.mark.slow
def test_every_token_of_smollm2() -> None:
    path = cached_model("smollm2-135m-instruct")
    if path is None:
        pytest.skip("the model is not in the cache: sestina models pull smollm2-135m-instruct")
    assert check_along(load_tokenizer(path), every=1) > 60


@pytest.mark.slow
@pytest.mark.skipif(not QWEN3.is_dir(), reason="the tokenizer is not next to the repo")
def test_sampled_states_of_qwen3() -> None:
    assert check_along(load_tokenizer(QWEN3), every=5) > 15
