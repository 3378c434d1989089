"""One grammar's automaton: where it starts in its machine, and what it may still cost."""

from __future__ import annotations

from sestina.backend.grammar.alphabet import Alphabet
from sestina.backend.grammar.build import build
from sestina.backend.grammar.core import calls, memory
from sestina.backend.grammar.limits import Budget, Limits
from sestina.backend.grammar.machine import DEAD, NUM_BYTES, Machine
from sestina.backend.grammar.table import dot, table
from sestina.lang import grammar_ir as ir


class Automaton:
    """States of one grammar, shared by all who walk it; thread-safe.

    A state is an integer, and equal states are the same integer. The machine works out transitions
    as they are asked for; what that makes is charged to this automaton's budget.
    ConstraintLimitExceeded leaves everything as it was.
    """

    __slots__ = ("budget", "limits", "lock", "machine", "start")

    def __init__(self, machine: Machine, start: int, budget: Budget) -> None:
        self.machine = machine
        self.lock = machine.lock
        self.limits = budget.limits
        self.budget = budget
        self.start = start

    def __str__(self) -> str:
        """A readable table of the first states; making it expands them."""
        return table(self)

    def to_dot(self, max_states: int = 40) -> str:
        """The first states as a graph in the DOT language."""
        return dot(self, max_states=max_states)

    @property
    def num_states(self) -> int:
        """States made for this automaton, and the dead one."""
        return self._spent(memory.STATES)

    @property
    def num_expressions(self) -> int:
        """Expressions made for this automaton."""
        return self._spent(memory.EXPRESSIONS)

    def _spent(self, what: int) -> int:
        with self.lock:
            self.machine.let_pay(self.budget)
            return self.machine.mem.item(what)

    def step(self, state: int, byte: int) -> int:
        """The state after one byte. Under a microsecond once it was asked for."""
        with self.lock:
            return self.machine.step(self.budget, state, byte)

    def step_special(self, state: int, token_id: int) -> int:
        """The state after a control token."""
        with self.lock:
            if token_id not in self.machine.special_ids:
                return DEAD  # no grammar of this machine names it
            return self.machine.step(self.budget, state, self.machine.special_symbol(token_id))

    def advance(self, state: int, data: bytes) -> int:
        """The state after some bytes."""
        with self.lock:
            return self.machine.advance(self.budget, state, data)

    def is_accepting(self, state: int) -> bool:
        """The text so far is in the language."""
        with self.lock:
            return self.machine.is_accepting(state)

    def is_complete(self, state: int) -> bool:
        """The text so far is in the language and no longer text begins with it."""
        with self.lock:
            return self.machine.is_complete(self.budget, state)

    def only_symbol(self, state: int) -> int | None:
        """The one symbol that can follow: a byte, or NUM_BYTES + k for control token k.

        None if there is none or a choice. It does not look at acceptance: in an accepting state
        the text may also end.
        """
        with self.lock:
            return self.machine.only_symbol(self.budget, state)


def compile_automaton(
    grammar: ir.Grammar,
    limits: Limits | None = None,
    alphabet: Alphabet | None = None,
    machine: Machine | None = None,
) -> Automaton:
    """A grammar's automaton: step it byte by byte from `.start`.

    alphabet: the bytes and control tokens of a vocabulary; without, any byte and no control token.
    machine: one that other grammars over the same alphabet use too; without, its own.
    Raises InvalidConstraint, UnsupportedConstraint (left recursion, recursion under `And`/`Not`,
    control tokens), UnsatisfiableConstraint, or ConstraintLimitExceeded.

    >>> from sestina.lang.grammar_ir import Grammar, literal, star
    >>> automaton = compile_automaton(Grammar(star(literal("ab"))))
    >>> [automaton.is_accepting(automaton.advance(automaton.start, t)) for t in (b"abab", b"aba")]
    [True, False]
    >>> automaton.advance(automaton.start, b"b") == DEAD
    True
    """
    if machine is None:
        machine = Machine(alphabet or Alphabet())
    budget = Budget(limits or Limits())
    with machine.lock:
        start = build(grammar, machine, budget)
        machine.run(budget, calls.enter, start)
    return Automaton(machine, start, budget)


__all__ = ["DEAD", "NUM_BYTES", "Automaton", "compile_automaton"]
