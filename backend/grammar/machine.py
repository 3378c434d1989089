"""The lazy machine under all automata of one vocabulary: states, and a table filled on demand."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.derivative import Derivatives
from sestina.backend.grammar.expr import ALL, EMPTY, EVERY_BYTE, NUM_BYTES, Alphabet, Arena
from sestina.backend.grammar.limits import Budget, Limits
from sestina.backend.grammar.liveness import Liveness
from sestina.lang import grammar_ir as ir

DEAD = 0
"""The state from which nothing can be accepted. Exact: every other state can reach acceptance."""

UNKNOWN = -1
"""In the table: this transition was not looked for yet."""

_BYTES_PER_EXPRESSION = 400  # measured: key, lists, memo entry


class Built(NamedTuple):
    """The expression of an IR node without rules; the node is held so that its id stays its own."""

    node: ir.Expr
    expr: int
    height: int
    special: str | None  # some control token in it


class Machine:
    """States over one alphabet, shared by every grammar built into it; thread-safe.

    A state is an integer for an expression; equal states are the same integer, for ever, whichever
    grammar they come from. So what two grammars have in common (a string's body, any JSON value)
    is worked out once.

    table: int32 [capacity, 256], by state and byte. It is replaced when it grows, so take it (and
        walk it) under `lock`, or be ready for entries that look unknown.
    accepting: uint8 [capacity]. special_ids[k] is the control token behind symbol 256 + k.
    nodes: the expressions of IR nodes met before, by identity; see `sestina.backend.grammar.build`.
        Those that the next grammar does not meet again (`nodes_met_once`) are forgotten.

    Whoever makes it work calls `charge` first, under `lock`: new expressions and states count
    against that budget, and passing it is an error that leaves the machine as it was.
    """

    def __init__(self, alphabet: Alphabet) -> None:
        self.lock = threading.RLock()
        self.alphabet = alphabet
        self.missing_bytes = frozenset(b for b in range(256) if not alphabet.byte_mask >> b & 1)
        self.arena = Arena(Budget(Limits()), alphabet.byte_mask)
        self.derivatives = Derivatives(self.arena)
        self.liveness = Liveness(self.arena, self.derivatives)
        self.nodes: dict[int, Built] = {}
        self.nodes_met_once: set[int] = set()
        self.table: NDArray[np.int32] = np.full((64, NUM_BYTES), UNKNOWN, np.int32)
        self.table[DEAD] = DEAD
        self.accepting: NDArray[np.uint8] = np.zeros(64, np.uint8)
        self.special_ids: list[int] = []
        self.exprs: list[int] = [EMPTY]
        self._index: dict[int, int] = {EMPTY: DEAD}
        self._expanded: set[int] = {DEAD}
        self._specials: dict[tuple[int, int], int] = {}
        self._complete: dict[int, bool] = {}
        self._columns: dict[int, NDArray[np.intp]] = {}

    @property
    def num_states(self) -> int:
        return len(self.exprs)

    def memory_bytes(self) -> int:
        """About what table and expressions occupy."""
        return self.table.nbytes + _BYTES_PER_EXPRESSION * (len(self.arena) + len(self.nodes))

    def charge(self, budget: Budget) -> None:
        """Let this budget pay from now on. Call it under `lock`."""
        self.arena.budget = budget

    def special_symbol(self, token_id: int) -> int:
        """The symbol of a control token."""
        if token_id not in self.special_ids:
            self.special_ids.append(token_id)
        return NUM_BYTES + self.special_ids.index(token_id)

    # ---- all below: call under `lock`

    def follow(self, state: int, byte: int) -> int:
        """The state after one byte; works out what the table lacks."""
        known: int = self.table.item(state, byte)
        if known != UNKNOWN:
            return known
        for mask, left in self.derivatives.of(self.exprs[state]):
            if mask >> byte & 1:
                after = self.state_of(left)
                self.table[state, self._columns_of(mask)] = after
                return after
        self.table[state, byte] = DEAD
        return DEAD

    def follow_special(self, state: int, k: int) -> int:
        """The state after control token special_ids[k]."""
        found = self._specials.get((state, k))
        if found is None:
            transitions = self.derivatives.of(self.exprs[state])
            lefts = [left for mask, left in transitions if mask >> (NUM_BYTES + k) & 1]
            found = self._specials[state, k] = self.state_of(lefts[0]) if lefts else DEAD
        return found

    def expand(self, state: int) -> None:
        """Fill the whole row of a state."""
        if state in self._expanded:
            return
        e = self.exprs[state]
        transitions = self.derivatives.of(e)
        wider = self.arena.without_complements(e)
        if wider in (e, ALL):
            row = np.full(NUM_BYTES, DEAD, np.int32)
        else:
            # A & ~B goes on as A does, but for the few bytes that B could go on with.
            base = self.state_of(wider)
            self.expand(base)
            row = self.table[base].copy()
            same = set(self.derivatives.of(wider))
            transitions = tuple(each for each in transitions if each not in same)
            dead = self.derivatives.followers(wider) & ~self.derivatives.followers(e)
            if dead:
                row[self._columns_of(dead)] = DEAD
        for mask, left in transitions:
            row[self._columns_of(mask)] = self.state_of(left)
        # One assignment: a reader without the lock sees the old row or the new one.
        self.table[state] = row
        self._expanded.add(state)

    def followers(self, state: int) -> int:
        """The mask of the symbols that may come next."""
        out = 0
        for mask, left in self.derivatives.of(self.exprs[state]):
            if self.liveness.live(left) != EMPTY:
                out |= mask
        return out

    def is_complete(self, state: int) -> bool:
        """The state accepts, and nothing can follow."""
        found = self._complete.get(state)
        if found is None:
            accepting = self.arena.nullable[self.exprs[state]]
            found = self._complete[state] = accepting and not self.followers(state)
        return found

    def state_of(self, e: int) -> int:
        """The state for an expression of the arena."""
        found = self._index.get(e)
        if found is not None:
            return found
        live = self.liveness.live(e)
        found = self._index.get(live)
        if found is None:
            found = self._new_state(live)
        self._index[e] = found
        return found

    def _new_state(self, e: int) -> int:
        self.arena.budget.spend_state()
        new = len(self.exprs)
        if new == len(self.table):
            grown = np.full((2 * new, NUM_BYTES), UNKNOWN, np.int32)
            grown[:new] = self.table
            self.table = grown
            self.accepting = np.concatenate((self.accepting, np.zeros(new, np.uint8)))
        self.accepting[new] = self.arena.nullable[e]
        self.exprs.append(e)
        self._index[e] = new
        return new

    def _columns_of(self, mask: int) -> NDArray[np.intp]:
        found = self._columns.get(mask)
        if found is None:
            bits = np.frombuffer((mask & EVERY_BYTE).to_bytes(32, "little"), np.uint8)
            found = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
            self._columns[mask] = found
        return found
