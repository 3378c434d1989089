"""A compiled grammar, shared, and the matcher that each branch walks it with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.alphabet import Alphabet
from sestina.backend.grammar.automaton import Automaton
from sestina.backend.grammar.budget import Endings
from sestina.backend.grammar.core import calls, entries, intern
from sestina.backend.grammar.forced import forced_tokens
from sestina.backend.grammar.machine import DEAD, Machine
from sestina.backend.grammar.mask_cache import MaskCache
from sestina.backend.grammar.token_trie import TokenTrie
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.errors import ConstraintError

# Room for so many expressions at first: growing later means copying, and untouched memory is free.
_NUM_NODES = 1 << 17

_MAX_KNOWN = 1 << 16
"""Steps, and states, that are remembered at a time: about 100 bytes each."""

_PAUSE = 50e-6
"""Seconds. A lock that is free for no time goes to the thread that had it."""


class SharedMasks:
    """A machine over one vocabulary with its masks and forced runs; grammars are built into it."""

    def __init__(self, trie: TokenTrie, tokenizer: Tokenizer, max_mask_bytes: int) -> None:
        self.trie = trie
        self.tokenizer = tokenizer
        alphabet = Alphabet(trie.byte_mask, tokenizer.control_ids, trie.eos_ids)
        self.machine = Machine(alphabet, _NUM_NODES)
        self.masks = MaskCache(self.machine, trie, max_mask_bytes)
        self.endings = Endings(self.machine, trie, max_mask_bytes)
        self.forced: dict[tuple[int, int], tuple[int, ...]] = {}
        self.after: dict[int, int] = {}  # by state * vocab_size + token
        self.complete: dict[int, bool] = {}

    def memory_bytes(self) -> int:
        """About what all of it occupies; the vocabulary's trie is not counted."""
        return self.machine.memory_bytes() + self.masks.memory_bytes + self.endings.memory_bytes


class CompiledGrammar:
    """One grammar over one vocabulary. Thread-safe; states, masks and forced runs are shared.

    A ConstraintLimitExceeded raised while walking concerns this grammar alone: states that exist
    stay usable by all.
    """

    def __init__(self, automaton: Automaton, shared: SharedMasks) -> None:
        self.automaton = automaton
        self.trie = shared.trie
        self.tokenizer = shared.tokenizer
        self.shared = shared
        self._vocab_size = shared.trie.vocab_size
        self._control_ids = frozenset((shared.tokenizer.control_ids or {}).values())

    def matcher(self) -> Matcher:
        """A fresh matcher at the start of the text."""
        return Matcher(self)

    def after(self, data: bytes) -> CompiledGrammar:
        """The grammar of `data`, then this one; at this one's cost, and of its states.

        data: bytes of tokens of the vocabulary. About 2 us a byte.
        """
        automaton, start = self.automaton, self.automaton.start
        machine, budget = automaton.machine, automaton.budget
        with automaton.lock:
            for byte in reversed(data):
                start = machine.run(
                    budget, entries.cat, machine.run(budget, intern.one_byte, byte), start
                )
            machine.run(budget, calls.enter, start)
        return CompiledGrammar(Automaton(machine, start, budget), self.shared)

    @property
    def num_states(self) -> int:
        return self.automaton.num_states

    def memory_bytes(self) -> int:
        """About what machine and cached masks occupy, shared with other grammars of a compiler."""
        return self.shared.memory_bytes()

    def min_tokens(self) -> int:
        """`tokens_to_accept` at the start: a smaller max_tokens is not sure to be enough."""
        return self.tokens_to_accept(self.automaton.start)

    def tokens_to_accept(self, state: int) -> int:
        """See `Matcher.tokens_to_accept`."""
        with self.automaton.lock:
            return self.shared.endings.tokens(self.automaton.budget, state)

    def fill_mask(self, state: int, row: NDArray[np.int32], max_tokens: int | None = None) -> None:
        """Write the mask of a state over `row`; see `Matcher.fill_mask`."""
        budget = self.automaton.budget
        with self.automaton.lock:
            mask = self.shared.masks.mask(budget, state)
            if max_tokens is not None:
                mask = self.shared.endings.restrict(budget, state, max_tokens, mask)
        if len(row) < len(mask):
            raise ValueError(f"a mask row needs {len(mask)} words, not {len(row)}")
        row[: len(mask)] = mask
        row[len(mask) :] = 0

    def prefetch(self, states: Iterable[int]) -> None:
        """Work out what masks of these states need, so that `fill_mask` finds it at hand.

        For another thread than the one that decodes: the lock is held for one state at a time, as
        long as its mask takes (see `Matcher.fill_mask`), and left to whoever waits in between. What
        it finds out is charged to this grammar's limits as ever, and a state whose mask is an error
        is left alone: the error comes when the mask is asked for.
        """
        budget = self.automaton.budget
        for state in states:
            with contextlib.suppress(ConstraintError), self.automaton.lock:
                self.shared.masks.mask(budget, state)
                self.shared.endings.prepare(budget, state)
            time.sleep(_PAUSE)

    def step(self, state: int, token_id: int) -> int:
        """The state after a token that is not one of eos_ids, DEAD if it is not allowed.

        0.2 us where the token was taken from this state before.
        """
        if not 0 <= token_id < self._vocab_size:
            return DEAD
        key = state * self._vocab_size + token_id
        after = self.shared.after.get(key)
        if after is None:
            after = self._step(state, token_id)
            if len(self.shared.after) >= _MAX_KNOWN:
                self.shared.after.clear()
            self.shared.after[key] = after
        return after

    def _step(self, state: int, token_id: int) -> int:
        trie, automaton = self.trie, self.automaton
        if trie.token_bytes[token_id]:
            with automaton.lock:
                return automaton.machine.run(
                    automaton.budget,
                    calls.advance_token,
                    state,
                    trie.spelling,
                    trie.starts,
                    token_id,
                )
        if token_id in self._control_ids:
            return self.automaton.step_special(state, token_id)
        return DEAD

    def is_complete(self, state: int) -> bool:
        """See `Matcher.is_complete`."""
        complete = self.shared.complete.get(state)
        if complete is None:
            complete = self.automaton.is_complete(state)
            if len(self.shared.complete) >= _MAX_KNOWN:
                self.shared.complete.clear()
            self.shared.complete[state] = complete
        return complete

    def forced_tokens(self, state: int) -> tuple[int, ...]:
        """See `Matcher.forced_tokens`; cached by state."""
        key = (state, self.automaton.limits.max_forced_bytes)
        found = self.shared.forced.get(key)
        if found is None:
            with self.automaton.lock:
                found = forced_tokens(
                    self.automaton, self.shared.masks, self.trie, self.tokenizer, state
                )
            self.shared.forced[key] = found
        return found


class _Place(NamedTuple):
    """Where a matcher stands, and the place before it."""

    state: int
    terminated: bool
    before: _Place | None
    depth: int


class Matcher:
    """One branch's place in a grammar. Not thread-safe; forks are independent.

    A ConstraintError from any method leaves the matcher where it was.
    """

    __slots__ = ("_place", "grammar")

    def __init__(self, grammar: CompiledGrammar) -> None:
        self.grammar = grammar
        self._place = _Place(grammar.automaton.start, False, None, 0)

    def __repr__(self) -> str:
        end = ", terminated" if self._place.terminated else ""
        return f"Matcher(state={self._place.state}, tokens={self._place.depth}{end})"

    @property
    def state(self) -> int:
        """The automaton's state; equal states have equal masks and equal futures."""
        return self._place.state

    @property
    def num_tokens(self) -> int:
        """Tokens accepted and not rolled back."""
        return self._place.depth

    def tokens_to_accept(self) -> int:
        """How many more tokens end the text for sure, the one that says so (eos) not counted.

        0 exactly where it may end already. There are that many tokens that end it; fewer might do.
        `fill_mask` with as many to go, or more, always allows a token after which this is less.
        About 1 us for a new state, and 10 ns for each byte of the shortest text that is left.
        Raises UnsatisfiableConstraint or ConstraintLimitExceeded if there is no such number.
        """
        if self._place.terminated:
            return 0
        return self.grammar.tokens_to_accept(self._place.state)

    def fill_mask(self, row: NDArray[np.int32], max_tokens: int | None = None) -> None:
        """Write the tokens allowed next over `row`.

        row: int32 [ceil(V / 32)] or longer, in the layout of `sestina.kernels.token_bitmask`; words
        beyond the vocabulary are cleared. A token is allowed exactly when `accept_token` would take
        it; eos_ids exactly when the text may end here; nothing once it has ended. Cost: a copy
        where the state was seen before, else a walk of the parts of the vocabulary's trie that
        the text could go on with, from 10 us where few tokens are allowed.

        max_tokens: tokens that may still be appended, eos not counted. Then only those are allowed
        after which the text can end within one fewer: after which `tokens_to_accept` is at most
        max_tokens - 1. That leaves some, or the end, as long as `tokens_to_accept` is at most
        max_tokens here. It costs nothing where the budget is ample, which is found out once for
        each state by another walk; else that walk, once for each state and budget.
        """
        if self._place.terminated:
            row[:] = 0
        else:
            self.grammar.fill_mask(self._place.state, row, max_tokens)

    def accept_token(self, token_id: int) -> bool:
        """Append a token. False if it is not allowed here; then nothing has changed."""
        state, terminated, _, depth = self._place
        if terminated:
            return False
        if token_id in self.grammar.trie.eos_ids:
            if not self.grammar.automaton.is_accepting(state):
                return False
            self._place = _Place(state, True, self._place, depth + 1)
            return True
        after = self.grammar.step(state, token_id)
        if after == DEAD:
            return False
        self._place = _Place(after, False, self._place, depth + 1)
        return True

    def is_accepting(self) -> bool:
        """The text so far is in the language."""
        return self.grammar.automaton.is_accepting(self._place.state)

    def is_complete(self) -> bool:
        """The text so far is in the language and cannot go on."""
        return self._place.terminated or self.grammar.is_complete(self._place.state)

    def is_terminated(self) -> bool:
        """A token that ends the text was accepted."""
        return self._place.terminated

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens. ValueError if there are not that many. O(num_tokens)."""
        if not 0 <= num_tokens <= self._place.depth:
            raise ValueError(f"cannot take back {num_tokens} of {self._place.depth} tokens")
        place = self._place
        for _ in range(num_tokens):
            if place.before is not None:
                place = place.before
        self._place = place

    def fork(self) -> Matcher:
        """An independent matcher at the same place, with the same history. O(1)."""
        twin = Matcher(self.grammar)
        twin._place = self._place
        return twin

    def forced_tokens(self, max_tokens: int | None = None) -> list[int]:
        """Tokens that must come next, in order; [] where there is a choice or the text may end.

        `accept_token` takes each of them in turn. The last ones are withheld while they could merge
        with what follows (see `sestina.backend.grammar.forced`).

        max_tokens: see `fill_mask`. Other tokens may spell the same bytes in fewer, so the last
        ones are withheld, too, while the text could not end in time after them.
        """
        if self._place.terminated:
            return []
        forced = list(self.grammar.forced_tokens(self._place.state))
        if not forced or max_tokens is None:
            return forced
        twin = self.fork()
        for token_id in forced:
            twin.accept_token(token_id)
        while forced and twin.tokens_to_accept() > max_tokens - len(forced):
            forced.pop()
            twin.rollback(1)
        return forced
