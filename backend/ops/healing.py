"""Token healing: where a text ends, it may end inside a token that the model would have written.

A tokenizer writes "http:" with ":" at its end, and "http://" with "://", which is one token. A
model that is given the first has hardly ever seen "//" after it. So where a gen follows constant
text, the last of the text's tokens are taken back, and what is drawn first has to begin with their
bytes: the tokens taken back, or longer ones that reach past the end of the text.

What is drawn wholly within these bytes is prompt, in other tokens perhaps: it is counted as
healed, and nowhere else. The token that reaches past them is the first of the output, with its own
log-probability; its text is what comes after them. It neither ends the text (`stop_token_ids`) nor
is it held back by `min_tokens`. If the text's own tokens are drawn again, all goes on as it would
have without, sampling too: the draws in between have a seed of their own.

Not healed: control tokens, markup of a chat template, `Ids`, what was generated; a context's only
token; and tokens that the constraint forces anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sestina.backend.branch import Branch
from sestina.backend.core import Core
from sestina.backend.grammar import CompiledGrammar, TokenTrie
from sestina.backend.seeds import derive_seed
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Healed:
    """Tokens taken back from the end of a text: their ids and bytes, and the grammar of these bytes
    and what the constraint allows after them (anything, without one)."""

    ids: tuple[int, ...]
    data: bytes
    grammar: CompiledGrammar


class Healing:
    """How far a generation is in the bytes that it has to begin with.

    seed: of the generation. is_free: whether it has no constraint. num_left: bytes that are still
    to come, at least one until it is over.
    """

    def __init__(self, healed: Healed, tokenizer: Tokenizer, seed: int, *, is_free: bool) -> None:
        self.seed = healing_seed(seed)
        self.num_left = len(healed.data)
        self._healed = healed
        self._tokenizer = tokenizer
        self._is_free = is_free
        self._num_drawn = 0
        self._is_same = True

    def is_prompt(self, token_id: int) -> bool:
        """Whether a token that comes next lies wholly in these bytes."""
        return len(self._tokenizer.token_bytes(token_id)) <= self.num_left

    def budget(self, num_left: int) -> int:
        """Tokens in which a mask has to let the text end, where `num_left` of output remain."""
        # Without a constraint only these bytes have to end, in whatever tokens.
        return max(num_left, self.num_left) if self._is_free else num_left

    def allow_same(self, row: NDArray[np.int32]) -> None:
        """Allow the text's own next token in a mask, which the budget need not: it is no output."""
        if self._is_same:
            token_id = self._healed.ids[self._num_drawn]
            row.view(np.uint32)[token_id // 32] |= np.uint32(1 << (token_id % 32))

    def take(self, token_id: int) -> None:
        """A token came."""
        self._is_same = self._is_same and self._healed.ids[self._num_drawn] == token_id
        self._num_drawn += 1
        self.num_left = max(0, self.num_left - len(self._tokenizer.token_bytes(token_id)))


def healing_seed(seed: int) -> int:
    """For the draws of a generation with this seed that are not all output."""
    return derive_seed(seed, "healing", 0, 0)


def num_to_heal(tokens: Sequence[int], start: int, trie: TokenTrie) -> int:
    """How many tokens to take back: as few as it takes for no token of the vocabulary to begin
    where a taken or kept one does and reach past the end of the text.

    That is one, where the last token begins a longer one, or none; more are needed only where the
    last ones together do, as " intern" and "a" of " international". Tokens before `start`, and the
    first, are kept. O(bytes of the longest token).
    """
    data, found = b"", 0
    for count in range(1, len(tokens) - max(start, 1) + 1):
        data = trie.token_bytes[tokens[-count]] + data
        if len(data) >= trie.max_len:
            break
        if trie.has_longer(data):
            found = count
    return found


def heal(
    core: Core, branch: Branch, params: SamplingParams, constraint: CompiledGrammar | None
) -> Healed | None:
    """What a gen on this branch is to take back, or None; nothing is changed yet."""
    start, end = branch.text_run
    if not params.heal or not params.max_tokens or end != len(branch.sequence):
        return None
    trie = core.compiler.trie
    tokens = branch.sequence.tokens[max(0, end - trie.max_len) :].tolist()
    count = num_to_heal(tokens, start - (end - len(tokens)), trie)
    if not count:
        return None
    ids = tuple(tokens[-count:])
    data = b"".join(trie.token_bytes[i] for i in ids)
    # The bytes may be drawn in more tokens than they were.
    if end - count + len(data) + params.max_tokens > core.scheduler.max_len:
        return None
    grammar = (constraint or core.compiler.anything()).after(data)
    if constraint is not None:
        forced = grammar.forced_tokens(grammar.automaton.start)
        if forced[:count] == ids:
            return None
    return Healed(ids, data, grammar)


def text_after(
    tokenizer: Tokenizer, ids: Sequence[int], num_bytes: int
) -> tuple[str, Sequence[int]]:
    """What tokens say after their first `num_bytes` bytes: as text up to the end of a token and of
    a character, then the other tokens."""
    data = b""
    for count, token_id in enumerate(ids, start=1):
        data += tokenizer.token_bytes(token_id)
        if len(data) >= num_bytes:
            try:
                return data[num_bytes:].decode(), ids[count:]
            except UnicodeDecodeError:
                continue
    return data[num_bytes:].decode(errors="replace"), ()
