"""The lazy automaton: integer states over a dense table, its rows expanded as they are visited."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.build import Alphabet, Built, build
from sestina.backend.grammar.clamp import SHORT_LEN, Clamp
from sestina.backend.grammar.expr import EMPTY, NUM_BYTES
from sestina.backend.grammar.limits import Limits
from sestina.lang import grammar_ir as ir

DEAD = 0
"""The state from which nothing can be accepted. Exact: every other state can reach acceptance."""

UNKNOWN = -1
"""In the table: this row was not expanded yet."""

_BYTES_PER_EXPRESSION = 400  # measured: key, lists, memo entry


class Automaton:
    """States of one grammar, shared by all who walk it; thread-safe.

    A state is an integer for an expression; equal states are the same integer, for ever. A row is
    expanded as a whole: one derivative gives the transitions over all symbols at once.

    table: int32 [capacity, num_classes], `UNKNOWN` in rows not expanded. It is replaced when it
        grows, so take it (and walk it) under `lock`, or be ready for rows that look unexpanded.
    classes: uint8 [256], the column of each byte. Control token k has column special_class(k).
    special_ids: the control tokens that the grammar names.
    """

    def __init__(self, built: Built, limits: Limits) -> None:
        self.lock = threading.RLock()
        self.limits = limits
        self.special_ids = built.special_ids
        self.num_classes = len(built.classes)
        self.classes = _byte_classes(built.classes)
        self.table: NDArray[np.int32] = np.full((16, self.num_classes), UNKNOWN, np.int32)
        self.table[DEAD] = DEAD
        self._built = built
        self._arena = built.arena
        self._class_of_byte: list[int] = self.classes.tolist()
        self._lone_symbol = [
            symbols.bit_length() - 1 if symbols & (symbols - 1) == 0 else None
            for symbols in built.classes
        ]
        self._columns: dict[int, NDArray[np.intp]] = {}
        self._exprs: list[int] = [EMPTY]
        self._index: dict[int, int] = {EMPTY: DEAD}
        self._accepting: list[bool] = [False]
        self._complete: dict[int, bool] = {}
        self._clamp = Clamp(built.arena, SHORT_LEN)
        self._clamped: dict[int, int] = {}
        self.start = self.state_of(built.start)

    @property
    def num_states(self) -> int:
        return len(self._exprs)

    def memory_bytes(self) -> int:
        """About what table and expressions occupy."""
        return self.table.nbytes + _BYTES_PER_EXPRESSION * len(self._arena)

    def step(self, state: int, byte: int) -> int:
        """The state after one byte. O(1) once the row is expanded."""
        return self._follow(state, self._class_of_byte[byte])

    def step_special(self, state: int, k: int) -> int:
        """The state after control token special_ids[k]."""
        return self._follow(state, self.special_class(k))

    def special_class(self, k: int) -> int:
        return self.num_classes - len(self.special_ids) + k

    def advance(self, state: int, data: bytes) -> int:
        """The state after some bytes."""
        for byte in data:
            state = self._follow(state, self._class_of_byte[byte])
            if state == DEAD:
                break
        return state

    def is_accepting(self, state: int) -> bool:
        """The text so far is in the language."""
        return self._accepting[state]

    def is_complete(self, state: int) -> bool:
        """The text so far is in the language and no longer text begins with it."""
        if not self._accepting[state]:
            return False
        found = self._complete.get(state)
        if found is None:
            self.expand(state)
            found = self._complete[state] = not self.table[state].any()
        return found

    def only_symbol(self, state: int) -> int | None:
        """The one symbol that can follow: a byte, or 256 + k for control token k; None if not one.

        It does not look at acceptance: in an accepting state the text may also end.
        """
        self.expand(state)
        (columns,) = self.table[state].nonzero()
        return self._lone_symbol[columns[0]] if len(columns) == 1 else None

    def expand(self, state: int) -> None:
        """Fill the row of a state. ConstraintLimitExceeded leaves the automaton as it was."""
        if self.table[state, 0] != UNKNOWN:
            return
        with self.lock:
            row = np.full(self.num_classes, DEAD, np.int32)
            for mask, left in self._built.derivatives.of(self._exprs[state]):
                row[self._columns_of(mask)] = self.state_of(left)
            # One assignment: a reader without the lock sees the old row or the new one.
            self.table[state] = row

    def state_of(self, e: int) -> int:
        """The state for an expression of this automaton's arena. Call it under `lock`."""
        e = self._built.liveness.live(e)
        found = self._index.get(e)
        if found is not None:
            return found
        new = len(self._exprs)
        if new >= self.limits.max_states:
            raise self.limits.exceeded("max_states")
        if new == len(self.table):
            grown = np.full((2 * new, self.num_classes), UNKNOWN, np.int32)
            grown[:new] = self.table
            self.table = grown
        self._exprs.append(e)
        self._accepting.append(self._arena.nullable[e])
        self._index[e] = new
        return new

    def clamped(self, state: int) -> int:
        """A state with the same mask over tokens of at most SHORT_LEN bytes, few for all counts.

        Call it under `lock`.
        """
        found = self._clamped.get(state)
        if found is None:
            found = self._clamped[state] = self.state_of(self._clamp.of(self._exprs[state]))
        return found

    def _follow(self, state: int, column: int) -> int:
        target: int = self.table.item(state, column)
        if target == UNKNOWN:
            self.expand(state)
            target = self.table.item(state, column)
        return target

    def _columns_of(self, mask: int) -> NDArray[np.intp]:
        found = self._columns.get(mask)
        if found is None:
            classes = self._built.classes
            found = np.array([c for c, symbols in enumerate(classes) if symbols & mask], np.intp)
            self._columns[mask] = found
        return found


def _byte_classes(classes: tuple[int, ...]) -> NDArray[np.uint8]:
    out = np.zeros(NUM_BYTES, np.uint8)
    for column, symbols in enumerate(classes):
        for byte in range(NUM_BYTES):
            if symbols >> byte & 1:
                out[byte] = column
    return out


def compile_automaton(
    grammar: ir.Grammar, limits: Limits | None = None, alphabet: Alphabet | None = None
) -> Automaton:
    """A grammar's automaton, without a vocabulary: step it byte by byte from `.start`.

    Raises InvalidConstraint, UnsupportedConstraint (left recursion, recursion under `And`/`Not`,
    control tokens), UnsatisfiableConstraint, or ConstraintLimitExceeded.

    >>> from sestina.lang.grammar_ir import Grammar, literal, star
    >>> automaton = compile_automaton(Grammar(star(literal("ab"))))
    >>> [automaton.is_accepting(automaton.advance(automaton.start, t)) for t in (b"abab", b"aba")]
    [True, False]
    >>> automaton.advance(automaton.start, b"b") == DEAD
    True
    """
    limits = limits or Limits()
    return Automaton(build(grammar, alphabet or Alphabet(), limits), limits)
