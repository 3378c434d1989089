"""The grammar engine's core from Python, one operation at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support import ir_matcher

from sestina.backend.grammar.alphabet import EVERY_BYTE, Alphabet
from sestina.backend.grammar.build import build
from sestina.backend.grammar.core import calls, derive, entries, intern, memory
from sestina.backend.grammar.limits import Budget, Limits
from sestina.backend.grammar.machine import Machine
from sestina.kernels.token_mask import Trie, fill_token_mask
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import UnsatisfiableConstraint

LETTERS = b"abc"


def words(longest: int, letters: bytes = LETTERS) -> list[bytes]:
    """All words of up to so many letters."""
    return [bytes(w) for n in range(longest + 1) for w in itertools.product(letters, repeat=n)]


def matches(e: ir.Expr, text: bytes) -> bool:
    """Whether a rule-free node matches a whole text, by its definition."""
    return ir_matcher.accepts(ir.Grammar(e), text)


class Core:
    """The core's functions over a machine of its own, which grows when they ask for room.

    statuses: what they asked for, or passed.
    """

    def __init__(
        self,
        num_nodes: int = 1 << 10,
        limits: Limits | None = None,
        byte_mask: int = EVERY_BYTE,
    ) -> None:
        self.machine = Machine(Alphabet(byte_mask), num_nodes)
        self.budget = Budget(limits or Limits())
        self.statuses = statuses(self.machine)

    @property
    def mem(self) -> memory.Words:
        return self.machine.mem

    def run(self, function: Callable[..., Any], *args: object) -> Any:
        return self.machine.run(self.budget, function, *args)

    # ---- making expressions

    def literal(self, data: bytes) -> int:
        at = self.run(calls.add_bytes, np.frombuffer(data, np.uint8))
        return int(self.run(entries.literal, at, len(data)))

    def byte_set(self, mask: int) -> int:
        some = np.frombuffer(mask.to_bytes(32, "little"), np.int64).tolist()
        return int(self.run(_on_stack, some, intern.byte_set))

    def cat(self, first: int, rest: int) -> int:
        return int(self.run(entries.cat, first, rest))

    def alt(self, parts: Iterable[int], depth: int = entries.FACTOR_DEPTH) -> int:
        return int(self.run(_on_stack, list(parts), entries.alt, depth))

    def both(self, parts: Iterable[int]) -> int:
        return int(self.run(_on_stack, list(parts), entries.both))

    def repeat(self, item: int, lo: int, hi: int | None) -> int:
        return int(self.run(entries.repeat, item, lo, -1 if hi is None else hi))

    def complement(self, item: int) -> int:
        return int(self.run(entries.complement, item))

    def make(self, e: ir.Expr) -> int:
        """A small rule-free tree, part by part; what And and Not leave empty is not looked at."""
        match e:
            case ir.ByteSet(mask):
                return self.byte_set(mask)
            case ir.Literal(data):
                return self.literal(data)
            case ir.Concat(items):
                whole = memory.EPSILON
                for item in reversed(items):
                    whole = self.cat(self.make(item), whole)
                return whole
            case ir.Alt(items):
                return self.alt(map(self.make, items))
            case ir.And(items):
                return self.both(map(self.make, items))
            case ir.Not(item):
                return self.complement(self.make(item))
            case ir.Repeat(item, lo, hi):
                return self.repeat(self.make(item), lo, hi)
        raise AssertionError(f"not a rule-free node: {e}")

    def state(self, e: ir.Expr) -> int:
        """What the engine makes of a tree, And and Not looked into: a state, or EMPTY."""
        try:
            return build(ir.Grammar(e), self.machine, self.budget)
        except UnsatisfiableConstraint:
            return memory.EMPTY

    # ---- looking at them

    def kind(self, e: int) -> int:
        return int(memory.kind_of(self.mem, e))

    def parts(self, e: int) -> list[int]:
        """The operands of an ALT or AND."""
        at = self.mem[memory.POOL] + memory.x_of(self.mem, e)
        return self.mem[at : at + memory.y_of(self.mem, e)].tolist()

    def is_nullable(self, e: int) -> bool:
        return self.machine.is_accepting(e)

    def derivative(self, e: int, symbol: int) -> int:
        return int(self.run(entries.derivative, e, symbol))

    def live(self, e: int) -> int:
        return int(self.run(entries.live, e))

    def after(self, e: int, text: bytes) -> int:
        for byte in text:
            e = self.derivative(e, byte)
        return e

    def accepts(self, e: int, text: bytes) -> bool:
        return self.is_nullable(self.after(e, text))

    def classes(self, e: int) -> list[int]:
        """The class of each byte, see `derive.partition`."""
        self.run(entries.partition, e)
        at = memory.BYTE_CLASS
        return self.mem[at : at + memory.NUM_BYTES].tolist()

    def first_bytes(self, e: int) -> set[int]:
        some = np.zeros(memory.SET_WORDS, np.int64)
        self.run(derive.add_first_bytes, e, some)
        mask = int.from_bytes(some.tobytes(), "little")
        return {b for b in range(256) if mask >> b & 1}


def statuses(machine: Machine) -> list[int]:
    """A list that grows by what the machine has to recover from."""
    seen: list[int] = []
    recover = machine.recover

    def noted(status: int, budget: Budget) -> None:
        seen.append(status)
        recover(status, budget)

    machine.recover = noted  # type: ignore[method-assign]
    return seen


def _on_stack(
    mem: memory.Words, values: list[int], function: Callable[..., int], *args: int
) -> int:
    """function(mem, where the values begin on the stack, *args)."""
    start = int(mem[memory.TOP])
    for value in values:
        memory.push(mem, value)
    found = function(mem, start, *args)
    mem[memory.TOP] = start
    return found


# ---- masks


def dense_mask(core: Core, e: int, trie: Trie) -> set[int]:
    """The tokens that `fill_token_mask` allows over the rows of a live expression's automaton.

    The plain twin of every other walk. Rows are made as the walk asks for them.
    """
    row = np.zeros(int(trie.token_ids.max(initial=0)) // 32 + 1, np.int32)
    classes = np.arange(memory.NUM_BYTES).astype(np.uint8)
    states = [memory.EMPTY, e]
    number = {state: k for k, state in enumerate(states)}
    rows = [np.zeros(memory.NUM_BYTES, np.int32), _UNKNOWN]
    nodes, places = trie.roots, np.full(len(trie.roots), 1, np.int32)
    while len(nodes):
        for k in set(places.tolist()):
            rows[k] = _dense_row(core, states[k], states, number)
            rows += [_UNKNOWN] * (len(states) - len(rows))
        nodes, places = fill_token_mask(trie, np.array(rows), classes, nodes, places, row)
    return tokens_in(row)


_UNKNOWN = np.full(memory.NUM_BYTES, -1, np.int32)


def _dense_row(
    core: Core, state: int, states: list[int], number: dict[int, int]
) -> NDArray[np.int32]:
    """What follows each byte, as numbers of states; new ones are added."""
    after: dict[int, int] = {}
    classes = core.classes(state)
    for byte, k in enumerate(classes):
        if k not in after:
            left = core.live(core.derivative(state, byte))
            if left not in number:
                number[left] = len(states)
                states.append(left)
            after[k] = number[left]
    return np.array([after[k] for k in classes], np.int32)


def tokens_in(row: NDArray[np.int32]) -> set[int]:
    """The ids whose bits are set."""
    return set(np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist())
