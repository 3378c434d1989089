"""Forced runs: the tokens that the grammar leaves no choice about.

The bytes are forced; how they are cut into tokens is not quite. The tokenizer's own cut of the
forced bytes is taken, but its last tokens are withheld while some token of the vocabulary starts
inside them, reaches past the run's end and is allowed there: what the model would write next may
merge with them (llguidance, docs/fast_forward.md).
"""

from __future__ import annotations

from sestina.backend.grammar.automaton import Automaton
from sestina.backend.grammar.machine import NUM_BYTES
from sestina.backend.grammar.mask_cache import MaskCache
from sestina.backend.grammar.token_trie import TokenTrie
from sestina.backend.tokenizer.base import Tokenizer


def forced_tokens(
    automaton: Automaton, masks: MaskCache, trie: TokenTrie, tokenizer: Tokenizer, state: int
) -> tuple[int, ...]:
    """Ids that must come next, in order; () where there is a choice or the text may end.

    Stops early rather than guess: before bytes that are not whole UTF-8 characters, and after
    `max_forced_bytes`. Call it under the automaton's lock. O(bytes of the run).
    """
    out: list[int] = []
    while True:
        data, path, special = _forced_bytes(automaton, state)
        if not data and special is None:
            return tuple(out)
        ids = _encode(trie, tokenizer, data)
        taken = sum(len(trie.token_bytes[i]) for i in ids)
        if special is None or taken < len(data):
            # What follows may merge with the end of the run.
            out += _withhold(automaton, masks, trie, ids, data[:taken], path[taken])
            return tuple(out)
        token_id = automaton.machine.special_ids[special]
        out += [*ids, token_id]
        state = automaton.step_special(path[-1], token_id)


def _forced_bytes(automaton: Automaton, state: int) -> tuple[bytes, list[int], int | None]:
    """Bytes that must follow, the state before each and after the last, and the control token that
    must follow them, if one must."""
    data = bytearray()
    path = [state]
    while not automaton.is_accepting(path[-1]) and len(data) < automaton.limits.max_forced_bytes:
        symbol = automaton.only_symbol(path[-1])
        if symbol is None:
            break
        if symbol >= NUM_BYTES:
            return bytes(data), path, symbol - NUM_BYTES
        data.append(symbol)
        path.append(automaton.step(path[-1], symbol))
    return bytes(data), path, None


def _encode(trie: TokenTrie, tokenizer: Tokenizer, data: bytes) -> list[int]:
    """The tokenizer's ids for the whole characters of data; [] if they do not spell it exactly."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(data):
            return []  # begins inside a character, or is no UTF-8
        data = data[: error.start]
        text = data.decode("utf-8")
    ids = tokenizer.encode(text) if text else []
    spelled = [trie.token_bytes[i] for i in ids]
    return ids if all(spelled) and b"".join(spelled) == data else []


def _withhold(
    automaton: Automaton,
    masks: MaskCache,
    trie: TokenTrie,
    ids: list[int],
    data: bytes,
    end_state: int,
) -> list[int]:
    """Drop the last tokens that a longer token could reach out of; data is what ids spell."""
    keep_bytes = len(data)
    for start in range(max(0, len(data) - trie.max_len + 1), len(data)):
        if masks.reaches_past(automaton.budget, data[start:], end_state):
            keep_bytes = start
            break
    kept = []
    for token_id in ids:
        keep_bytes -= len(trie.token_bytes[token_id])
        if keep_bytes < 0:
            break
        kept.append(token_id)
    return kept
