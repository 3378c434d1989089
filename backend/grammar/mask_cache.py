"""Token masks of automaton states: computed by walking the vocabulary's trie, kept by state."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.automaton import DEAD, Automaton
from sestina.backend.grammar.token_trie import TokenTrie
from sestina.kernels.token_mask import Trie, fill_token_mask
from sestina.lang.errors import UnsatisfiableConstraint

Mask = NDArray[np.int32]


def allow_tokens(
    automaton: Automaton, trie: Trie, nodes: NDArray[np.int32], state: int, row: Mask
) -> None:
    """Set the bits of the tokens below trie `nodes` that the automaton reads from `state`.

    Expands what the walk meets. Call it under the automaton's lock.
    """
    states = np.full(len(nodes), state, np.int32)
    while len(nodes):
        nodes, states = fill_token_mask(
            trie, automaton.table, automaton.classes, nodes, states, row
        )
        for pending in np.unique(states).tolist():
            automaton.expand(pending)


class MaskCache:
    """Masks of one automaton over one vocabulary. The automaton's lock guards it.

    Short tokens see counters clamped (`Automaton.clamped`), so states that differ in far-off counts
    share that part; the long tokens, few, are walked with the state itself. What is kept: the short
    part of each clamped state, and the whole mask of a state that is its own clamped one. The
    least recently used go first.
    """

    def __init__(self, automaton: Automaton, trie: TokenTrie, max_bytes: int) -> None:
        self.automaton = automaton
        self.trie = trie
        self.max_entries = max(1, max_bytes // (4 * trie.num_words))
        self._short: OrderedDict[int, Mask] = OrderedDict()
        self._whole: OrderedDict[int, Mask] = OrderedDict()

    @property
    def memory_bytes(self) -> int:
        return 4 * self.trie.num_words * (len(self._short) + len(self._whole))

    def mask(self, state: int) -> Mask:
        """The mask of a live state; do not write to it. Call it under the automaton's lock.

        Raises UnsatisfiableConstraint if text must follow and no token of the vocabulary can be
        part of it, ConstraintLimitExceeded if the walk needs too many states.
        """
        found = self._whole.get(state)
        if found is not None:
            self._whole.move_to_end(state)
            return found
        clamped = self.automaton.clamped(state)
        row = self._short_part(clamped).copy()
        allow_tokens(self.automaton, self.trie.long, self.trie.long.roots, state, row)
        self._allow_control(state, row)
        if not row.any() and not self.automaton.is_accepting(state):
            raise UnsatisfiableConstraint(
                "the text must go on here, but no token of the vocabulary can continue it"
            )
        if clamped == state:
            self._keep(self._whole, state, row)
        return row

    def _short_part(self, clamped: int) -> Mask:
        row = self._short.get(clamped)
        if row is not None:
            self._short.move_to_end(clamped)
            return row
        row = np.zeros(self.trie.num_words, np.int32)
        allow_tokens(self.automaton, self.trie.short, self.trie.short.roots, clamped, row)
        self._keep(self._short, clamped, row)
        return row

    def _allow_control(self, state: int, row: Mask) -> None:
        bits = row.view(np.uint32)
        allowed = list(self.trie.eos_ids) if self.automaton.is_accepting(state) else []
        for k, token_id in enumerate(self.automaton.special_ids):
            if self.automaton.step_special(state, k) != DEAD:
                allowed.append(token_id)
        for token_id in allowed:
            bits[token_id // 32] |= np.uint32(1 << (token_id % 32))

    def _keep(self, where: OrderedDict[int, Mask], state: int, row: Mask) -> None:
        where[state] = row
        while len(self._short) + len(self._whole) > self.max_entries:
            # Whole masks are quick to make again from short ones.
            (self._whole or self._short).popitem(last=False)
