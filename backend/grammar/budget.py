"""Finish by budget: how many tokens an end takes, and masks that leave room for one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core import ending_tokens, memory
from sestina.backend.grammar.core.ending_tokens import FAR, UNSPELLED, Index
from sestina.backend.grammar.core.ending_words import (
    FIRST_WORD,
    LIMIT_ENDING,
    MAX_ENDING,
    USED,
    WANTED,
    Notes,
)
from sestina.backend.grammar.core.threads import Tokens
from sestina.backend.grammar.limits import Budget
from sestina.backend.grammar.machine import Machine
from sestina.backend.grammar.token_trie import TokenTrie
from sestina.lang.errors import ConstraintLimitExceeded, UnsatisfiableConstraint

Int32s = NDArray[np.int32]
Result = TypeVar("Result")

_FIRST_WORDS = 1 << 12
_MAX_SPELLING_STATES = 500

_MAX_ASKED = 500
"""Questions about recursive intersections in one call, each of which begins the search again."""


class Endings:
    """The endings of one machine's states over one vocabulary. The machine's lock guards it.

    `tokens` of a state is an upper bound of what it takes to end the text there, and one that can
    be kept to: a state with n > 0 allows a token after which it is at most n - 1. It is the number
    of tokens that the canonical ending (`core.ending_words`) takes, cut by the longest; where the
    vocabulary lacks a byte by itself and that fails, the fewest tokens after which it does not,
    and those that follow.
    """

    def __init__(self, machine: Machine, trie: TokenTrie, max_bytes: int) -> None:
        self.machine = machine
        self.trie = trie
        self.max_entries = max(1, max_bytes // (4 * trie.num_words))
        self._tokens = Tokens(*trie.trie[:5], *trie.below)
        self._index: Index | None = None
        self._notes = _new_notes(1, _FIRST_WORDS)
        spelled = {data for data in trie.token_bytes if len(data) == 1}
        self._lacks_bytes = len(spelled) < trie.byte_mask.bit_count()
        self._gave_up: set[int] = set()
        self._ample: dict[int, int] = {}
        self._rows: OrderedDict[tuple[int, int], Int32s] = OrderedDict()

    @property
    def memory_bytes(self) -> int:
        rows = 4 * self.trie.num_words * len(self._rows)
        return rows + 4 * int(self._notes.words[USED]) + 100 * len(self._ample)

    # ---- all below: call under the machine's lock

    def tokens(self, budget: Budget, state: int) -> int:
        """How many tokens end the text from a live state for sure.

        About 1 us for a new state, and 10 ns for each byte of its ending.
        Raises UnsatisfiableConstraint if no tokens of the vocabulary do, ConstraintLimitExceeded if
        the ending is longer than MAX_ENDING bytes or a search needs too much.
        """
        needed = self._needed(budget, state, MAX_ENDING)
        if needed < FAR:
            return needed
        if not self._notes.tokens[state]:
            raise ConstraintLimitExceeded(f"the text takes {MAX_ENDING} bytes or more to end")
        if state in self._gave_up:
            raise ConstraintLimitExceeded(
                "the vocabulary lacks some bytes by themselves, and no way to spell the end of "
                f"the text was found among {_MAX_SPELLING_STATES} states"
            )
        raise UnsatisfiableConstraint("no tokens of the vocabulary spell the end of the text")

    def prepare(self, budget: Budget, state: int) -> None:
        """Work out what `tokens` and `restrict` with an ample budget need of a state."""
        self._needed(budget, state, MAX_ENDING)
        if state not in self._ample:
            self._ample[state] = self._enough(budget, state)

    def restrict(self, budget: Budget, state: int, max_tokens: int, mask: Int32s) -> Int32s:
        """`mask`, the state's own, without tokens that leave no room to end within `max_tokens`.

        Do not write to it. 100 ns where the budget is surely ample, which is told once for each
        state from its bytes in about 1 us; else a walk like the mask's, once for each state and
        budget.
        """
        enough = self._ample.get(state)
        if enough is None:
            enough = self._ample[state] = self._enough(budget, state)
        if max_tokens >= enough:
            return mask
        key = (state, max_tokens)
        found = self._rows.get(key)
        if found is not None:
            self._rows.move_to_end(key)
            return found
        row, worst = self._new_row(budget, state, max_tokens)
        if worst < max_tokens:
            self._ample[state] = worst + 1
            return mask
        self._rows[key] = row
        if len(self._rows) > self.max_entries:
            self._rows.popitem(last=False)
        return row

    def _enough(self, budget: Budget, state: int) -> int:
        """A budget that no token can make too small, going by bytes alone."""
        if self._lacks_bytes:
            return FAR
        most = self._run(budget, ending_tokens.symbols_to_come, state, self.trie.max_len)
        return 1 + most if most < MAX_ENDING else FAR

    def _new_row(self, budget: Budget, state: int, max_tokens: int) -> tuple[Int32s, int]:
        """What is left of the mask, and the most tokens that an end takes after any it allows."""
        row = np.zeros(self.trie.num_words, np.int32)
        rest = max_tokens - 1
        max_length = max(0, rest) * max(1, self.trie.max_len)
        while True:
            worst = self._run(budget, self._fill_within, state, rest, max_length, row)
            if worst >= 0:
                break
            self._spell(budget, ~worst)
        machine, bits = self.machine, row.view(np.uint32)
        for k in machine.specials(budget, state):
            after = machine.step(budget, state, memory.NUM_BYTES + k)
            needed = self._needed(budget, after, max_length)
            worst = max(worst, needed)
            if needed <= rest:
                token_id = machine.special_ids[k]
                bits[token_id // 32] |= np.uint32(1 << (token_id % 32))
        if machine.is_accepting(state):
            for token_id in self.trie.eos_ids:
                bits[token_id // 32] |= np.uint32(1 << (token_id % 32))
        return row, worst

    def _needed(self, budget: Budget, state: int, max_length: int) -> int:
        """Tokens that an end takes; FAR if it is longer than max_length or there is none."""
        needed = self._run(budget, ending_tokens.tokens_to_end, state, max_length)
        return self._spell(budget, state) if needed == UNSPELLED else needed

    def _spell(self, budget: Budget, state: int) -> int:
        """The fewest tokens for a state whose ending is UNSPELLED, or FAR; kept in the notes.

        Breadth first over tokens to states whose endings are spelled, until nothing better can
        follow than the best that was met. What was found for other states does not count as known,
        so that the outcome is a matter of the state alone, even where the search gives up.
        """
        best, depth = FAR, 0
        level, seen = [state], {state}
        while level and depth + 1 < best:
            depth += 1
            after: list[int] = []
            for follower in chain.from_iterable(self._followers(budget, e) for e in level):
                needed = self._run(budget, ending_tokens.tokens_to_end, follower, MAX_ENDING)
                if self._notes.tokens[follower] >= 0:
                    best = min(best, depth + needed)
                elif follower not in seen:
                    seen.add(follower)
                    after.append(follower)
                if len(seen) > _MAX_SPELLING_STATES:
                    self._gave_up.add(state)
                    best, after = FAR, []
                    break
            level = after
        best = min(best, FAR)
        self._notes.tokens[state] = UNSPELLED - 1 - best
        return best

    def _followers(self, budget: Budget, state: int) -> list[int]:
        """The states that one token leads to."""
        machine = self.machine
        found = self._run(budget, ending_tokens.followers, self._tokens, state)
        after = [
            (machine.special_ids[k], machine.step(budget, state, memory.NUM_BYTES + k))
            for k in machine.specials(budget, state)
        ]
        return [*found.tolist(), *(follower for _, follower in sorted(after))]

    def _fill_within(self, mem: memory.Words, notes: Notes, index: Index, *args: Any) -> int:
        table = self.machine.table  # another one, once it has grown
        return ending_tokens.fill_within(mem, table, notes, index, self._tokens, *args)

    def _run(self, budget: Budget, function: Callable[..., Result], *args: Any) -> Result:
        """The core's function, again with more room for as long as it asks for it."""
        machine = self.machine
        machine.let_pay(budget)
        machine.mem[memory.WORK] = 0
        num_asked = 0
        while True:
            notes, index = self._room(), self._the_index()
            result = function(machine.mem, notes, index, *args)
            status = machine.mem.item(memory.STATUS)
            num_asked += status == memory.ASK_LIVENESS
            if status == LIMIT_ENDING or num_asked > _MAX_ASKED:
                machine.clear_status()
                raise ConstraintLimitExceeded(
                    "how the text can end was not found out: intersections, complements and parts "
                    "in any order in the constraint take too many steps or expressions"
                )
            if status != memory.OK:
                machine.recover(status, budget)
            elif not notes.words[WANTED]:
                return result

    def _room(self) -> Notes:
        """Notes for all expressions there may be, and room for the words that were wanted."""
        notes, num = self._notes, self.machine.mem.item(memory.MAX_NODES)
        wanted = int(notes.words[WANTED])
        special_ids = self.machine.special_ids
        if len(notes.length) < num or wanted or len(notes.special_ids) != len(special_ids):
            words = len(notes.words) if not wanted else 2 * (len(notes.words) + wanted)
            self._notes = _grown(notes, num, words, special_ids)
        return self._notes

    def _the_index(self) -> Index:
        if self._index is None:
            size = 1 << (2 * len(self.trie.trie.byte) + 2).bit_length()
            slots = np.full((size, 2), -1, np.int64)
            self._index = Index(slots, np.zeros(len(self.trie.trie.byte) + 1, np.bool_))
            ending_tokens.fill_index(*self._index, self.trie.spelling, self.trie.starts)
        return self._index


def _new_notes(num: int, num_words: int, special_ids: list[int] | None = None) -> Notes:
    length, choice, tokens, seat = (np.zeros(num, np.int32) for _ in range(4))
    words = np.zeros(num_words, np.int32)
    words[USED] = FIRST_WORD
    return Notes(length, choice, tokens, seat, words, np.array(special_ids or [], np.int32))


def _grown(old: Notes, num: int, num_words: int, special_ids: list[int]) -> Notes:
    new = _new_notes(num, num_words, special_ids)
    for before, column in zip(old[:5], new[:5], strict=True):
        column[: len(before)] = before
    new.words[WANTED] = 0
    return new
