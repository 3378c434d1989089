"""One line that tests mask, forcing and rollback together, after llguidance's trace_check.

A trace is a list of strings that together are a text: those at even places are what the grammar
forces there, all of it ("" where it forces nothing), those at odd places what a model samples.

    ‧           splits tokens: "ab‧c" is the token "ab", then "c"
    ✖           before a token that must be refused there; the next token is tried at the same place
    ≺name≻      a control token of the vocabulary; ≺EOS≻ is each of its ends, of which one is taken
    «c3 a9»     bytes, where a token is no whole text

    check_trace(regex("ab+"), ByteTokenizer(), ["a‧b", "✖a‧b‧≺EOS≻"])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar import CompiledGrammar, compile_constraint, compile_grammar
from sestina.backend.tokenizer import Tokenizer
from sestina.lang import grammar_ir as ir
from sestina.lang.constraint import Constraint

_MARK = re.compile("(✖?)([^‧✖]+)")
_HEX = re.compile("«([0-9a-f ]*)»")


class _Mark(NamedTuple):
    """One token of a trace; ids are all that spell it."""

    text: str
    ids: tuple[int, ...]
    is_refused: bool


def check_trace(
    constraint: Constraint | ir.Grammar, tokenizer: Tokenizer, trace: Sequence[str]
) -> None:
    """AssertionError, with the text so far, where the engine does not do what the trace says.

    At each place the mask is compared with what `accept_token` takes, over the whole vocabulary
    (so it should be small); at the end all is rolled back and every mask compared again.
    """
    if isinstance(constraint, Constraint):
        grammar = compile_constraint(constraint, tokenizer)
    else:
        grammar = compile_grammar(constraint, tokenizer)
    walk = _Walk(grammar, tokenizer)
    for place, part in enumerate(trace):
        marks = [walk.mark(text, bool(cross)) for cross, text in _MARK.findall(part)]
        if place % 2 == 0:
            walk.force(marks)
        else:
            walk.sample(marks)
    walk.unwind()


class _Walk:
    def __init__(self, grammar: CompiledGrammar, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.matcher = grammar.matcher()
        self.done: list[str] = []
        self.masks: list[NDArray[np.int32]] = []
        self.ids: dict[bytes, list[int]] = {}
        for token_id in range(tokenizer.vocab_size):
            self.ids.setdefault(tokenizer.token_bytes(token_id), []).append(token_id)

    def mark(self, text: str, is_refused: bool) -> _Mark:
        if text == "≺EOS≻":
            return _Mark(text, tuple(self.tokenizer.eos_ids), is_refused)
        if text.startswith("≺"):
            return _Mark(text, (self.tokenizer.control_ids[text[1:-1]],), is_refused)
        pieces = _HEX.split(text)  # text and bytes in turn
        data = b"".join(
            bytes.fromhex(piece) if i % 2 else piece.encode() for i, piece in enumerate(pieces)
        )
        return _Mark(text, tuple(self.ids[data]), is_refused)

    def force(self, marks: Sequence[_Mark]) -> None:
        forced = self.matcher.forced_tokens()
        right = len(forced) == len(marks) and all(
            token_id in mark.ids for token_id, mark in zip(forced, marks, strict=True)
        )
        assert right, self.told(
            f"forced is {self.spelled(forced)!r}, not {'‧'.join(mark.text for mark in marks)!r}"
        )
        for mark, token_id in zip(marks, forced, strict=True):
            self.take(mark, token_id)

    def sample(self, marks: Sequence[_Mark]) -> None:
        for mark in marks:
            if mark.is_refused:
                allowed = set(mark.ids) & self.allowed()
                assert not allowed, self.told(f"{mark.text!r} is allowed")
                continue
            forced = self.spelled(self.matcher.forced_tokens())
            assert not forced, self.told(f"{forced!r} is forced before {mark.text!r}")
            self.take(mark, mark.ids[0])

    def take(self, mark: _Mark, token_id: int) -> None:
        missing = set(mark.ids) - self.allowed()
        assert not missing, self.told(f"{mark.text!r} is refused")
        self.masks.append(self.mask())
        assert self.matcher.accept_token(token_id)
        self.done.append(mark.text)

    def allowed(self) -> set[int]:
        """The mask's ids, which must be those that the matcher takes."""
        bits = np.unpackbits(self.mask().view(np.uint8), bitorder="little")
        allowed = set(np.flatnonzero(bits).tolist())
        taken = {i for i in range(self.tokenizer.vocab_size) if self.matcher.fork().accept_token(i)}
        assert allowed == taken, self.told(f"mask and matcher differ in {allowed ^ taken}")
        return allowed

    def mask(self) -> NDArray[np.int32]:
        row = np.empty(-(-self.tokenizer.vocab_size // 32), np.int32)
        self.matcher.fill_mask(row)
        return row

    def unwind(self) -> None:
        for mask in reversed(self.masks):
            self.matcher.rollback(1)
            text = self.done.pop()
            assert (self.mask() == mask).all(), self.told(f"another mask after taking back {text}")

    def spelled(self, ids: Sequence[int]) -> str:
        return "‧".join(self.tokenizer.decode([token_id]) for token_id in ids)

    def told(self, what: str) -> str:
        return f"after {'‧'.join(self.done)!r}: {what}"
