"""Masks worked out beforehand, by other threads too, are the masks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sestina
from sestina.backend.grammar import CompiledGrammar, Limits, compile_grammar

SCHEMA = sestina.json_schema(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 9, "pattern": "^[a-z]*$"},
            "tags": {"type": "array", "items": {"enum": ["a", "bc", "abc"]}},
        },
        "required": ["name", "tags"],
        "additionalProperties": False,
    }
)


def compiled(tokenizer: Any, limits: Limits | None = None) -> CompiledGrammar:
    return compile_grammar(SCHEMA.to_grammar(), tokenizer, limits=limits)


def some_states(grammar: CompiledGrammar, num: int) -> list[int]:
    """Those that single tokens lead to, breadth first."""
    found = [grammar.automaton.start]
    for state in found:
        for token_id in range(grammar.trie.vocab_size):
            after = grammar.step(state, token_id)
            if after and after not in found:
                found.append(after)
            if len(found) == num:
                return found
    return found


def masks(grammar: CompiledGrammar, states: list[int]) -> list[NDArray[np.int32]]:
    out = []
    for state in states:
        for max_tokens in (None, 1, 20, 1000):
            row = np.zeros(grammar.trie.num_words, np.int32)
            grammar.fill_mask(state, row, max_tokens)
            out.append(row)
    return out


def test_the_same_masks_and_bounds(tokenizer: Any) -> None:
    plain, prefetched = compiled(tokenizer), compiled(tokenizer)
    states = some_states(plain, 60)
    assert states == some_states(prefetched, 60)
    prefetched.prefetch(states)
    for one, other in zip(masks(plain, states), masks(prefetched, states), strict=True):
        assert (one == other).all()
    assert [plain.tokens_to_accept(s) for s in states] == [
        prefetched.tokens_to_accept(s) for s in states
    ]


def test_nothing_is_left_to_work_out(tokenizer: Any) -> None:
    grammar = compiled(tokenizer)
    states = some_states(grammar, 20)
    grammar.prefetch(states)
    before = grammar.automaton.num_expressions
    for state in states:
        grammar.fill_mask(state, np.zeros(grammar.trie.num_words, np.int32), 10_000)
        grammar.tokens_to_accept(state)
    assert grammar.automaton.num_expressions == before


def test_while_others_decode(tokenizer: Any) -> None:
    plain, shared = compiled(tokenizer), compiled(tokenizer)
    states = some_states(plain, 40)
    assert states == some_states(shared, 40)
    wanted = masks(plain, states)
    got: list[list[NDArray[np.int32]]] = []
    threads = [
        *(threading.Thread(target=shared.prefetch, args=(states[k::2],)) for k in range(2)),
        *(threading.Thread(target=lambda: got.append(masks(shared, states))) for _ in range(2)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 2
    for rows in got:
        assert all((one == other).all() for one, other in zip(wanted, rows, strict=True))


def test_errors_are_left_to_who_asks(tokenizer: Any) -> None:
    grammar = compiled(tokenizer)
    states = some_states(grammar, 30)
    short = compiled(tokenizer, Limits(max_expressions=grammar.automaton.num_expressions))
    assert some_states(short, 30) == states
    short.prefetch(states)
    assert short.automaton.num_expressions <= short.automaton.limits.max_expressions
