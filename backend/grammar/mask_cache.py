"""Token masks of a machine's states over one vocabulary, kept while they are used."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core import calls, components, masks, memory, threads
from sestina.backend.grammar.core.threads import Tokens
from sestina.backend.grammar.limits import Budget
from sestina.backend.grammar.machine import Machine
from sestina.backend.grammar.token_trie import TokenTrie
from sestina.lang.errors import UnsatisfiableConstraint

Int32s = NDArray[np.int32]

_FIRST_COMPONENTS = 16
_FIRST_POOL = 1 << 19


class MaskCache:
    """Masks of one machine, for all its grammars. The machine's lock guards it.

    Counters are clamped to the longest token, so states that differ in far-off counts share their
    masks. The least recently used masks go first; the components that they are put together from
    (see `core.masks`) are all forgotten when they fill their share.
    """

    def __init__(self, machine: Machine, trie: TokenTrie, max_bytes: int) -> None:
        self.machine = machine
        self.trie = trie
        self.max_entries = max(1, max_bytes // (4 * trie.num_words))
        self.max_component_bytes = max_bytes
        self.tokens = Tokens(*trie.trie[:5], *trie.below)
        self._scratch = threads.new_scratch(trie.max_len)
        self._masks: OrderedDict[int, Int32s] = OrderedDict()
        self._key_of: dict[int, int] = {}
        self._rows = np.zeros((_FIRST_COMPONENTS, trie.num_words), np.int32)
        self._spans = np.zeros((_FIRST_COMPONENTS, 4), np.int32)
        self._pool = np.zeros(_FIRST_POOL, np.int32)

    @property
    def memory_bytes(self) -> int:
        return 4 * self.trie.num_words * len(self._masks) + self._component_bytes()

    def mask(self, budget: Budget, state: int) -> Int32s:
        """The mask of a live state; do not write to it. Call it under the machine's lock.

        Raises UnsatisfiableConstraint if text must follow and no token of the vocabulary can be
        part of it, ConstraintLimitExceeded if the walk needs too much.
        """
        key = self._key_of.get(state)
        if key is None:
            key = self._key_of[state] = self._key(budget, state)
        found = self._masks.get(key)
        if found is None:
            found = self._masks[key] = self._new_mask(budget, key)
            if len(self._masks) > self.max_entries:
                self._masks.popitem(last=False)
        else:
            self._masks.move_to_end(key)
        return found

    def _key(self, budget: Budget, state: int) -> int:
        """The same expression for all states that no token can tell apart by their counters."""
        if not self.machine.flags(state) & memory.COUNTED:
            return state
        return self.machine.run(budget, calls.clamp, state, self.trie.max_len)

    def reaches_past(self, budget: Budget, suffix: bytes, state: int) -> bool:
        """Whether some token begins with `suffix`, is longer, and goes on as `state` allows."""
        row = np.zeros(self.trie.num_words, np.int32)
        self._run(masks.fill_past, budget, np.frombuffer(suffix, np.uint8), state, row)
        return bool(row.any())

    def walk_table(self, budget: Budget, state: int, row: Int32s) -> None:
        """The mask by the plain walk: the whole vocabulary through the automaton's table."""
        self._run(masks.fill_dense, budget, state, row)

    def _new_mask(self, budget: Budget, state: int) -> Int32s:
        row = np.zeros(self.trie.num_words, np.int32)
        self._run(masks.fill, budget, state, row)
        if (flags := self.machine.flags(state)) & (memory.NULLABLE | memory.HAS_SPECIAL):
            allowed = [self.machine.special_ids[k] for k in self.machine.specials(budget, state)]
            if flags & memory.NULLABLE:
                allowed += self.trie.eos_ids
            for token_id in allowed:
                row.view(np.uint32)[token_id // 32] |= np.uint32(1 << (token_id % 32))
        if not row.any() and not flags & memory.NULLABLE:
            raise UnsatisfiableConstraint(
                "the text must go on here, but no token of the vocabulary can continue it"
            )
        return row

    def _run(self, function: masks.Fill, budget: Budget, *args: object) -> None:
        """Fill a row, again with more room for as long as that is asked for: bits are only set."""
        machine, may_forget = self.machine, True
        machine.let_pay(budget)
        machine.mem[memory.WORK] = 0
        while True:
            function(
                machine.mem,
                machine.table,
                self._scratch,
                self.tokens,
                self._rows,
                self._spans,
                self._pool,
                *args,
            )
            status = machine.mem.item(memory.STATUS)
            if status == memory.OK:
                return
            if status == memory.COMPONENTS_FULL:
                may_forget = self._make_room(may_forget)
            machine.recover(status, budget)

    # ---- components

    def _component_bytes(self) -> int:
        mem, width = self.machine.mem, self.trie.num_words + 4
        return 4 * (width * mem.item(memory.NUM_COMPONENTS) + mem.item(memory.NUM_ENTRIES))

    def _make_room(self, may_forget: bool) -> bool:
        """Twice the room for what has none left, with what there is; beyond the share of memory,
        without.

        may_forget False: this mask has been begun again without, and needs more by itself.
        Returns whether what is there may still be forgotten.
        """
        num_components, pool_len = len(self._rows), len(self._pool)
        if self.machine.mem.item(memory.NUM_COMPONENTS) == num_components:
            num_components *= 2
        else:
            pool_len *= 2
        size = 4 * (num_components * (self.trie.num_words + 4) + pool_len)
        if may_forget and size > self.max_component_bytes:
            components.forget_components(self.machine.mem)
            return False
        self._rows = _longer(self._rows, num_components)
        self._spans = _longer(self._spans, num_components)
        self._pool = _longer(self._pool, pool_len)
        return may_forget


def _longer(old: Int32s, num: int) -> Int32s:
    if num == len(old):
        return old
    new = np.zeros((num, *old.shape[1:]), np.int32)
    new[: len(old)] = old
    return new
