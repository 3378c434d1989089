"""Token masks of a machine's states: put together from parts that are worked out once.

A token is allowed by a|b if a or b allows it, so a mask is a union. And a token is allowed by
head·tail if the head allows it, or if it is a text of the head and then something that the tail
allows. So for heads that many places share (the body of a string, any JSON value), the head's own
mask is kept, with the trie's nodes where a tail could go on; a new tail walks those few only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.clamp import SHORT_LEN, Clamp
from sestina.backend.grammar.expr import ALL, EMPTY, EPSILON, NUM_BYTES, Kind
from sestina.backend.grammar.machine import Machine
from sestina.backend.grammar.packed import Packed
from sestina.backend.grammar.token_trie import TokenTrie
from sestina.kernels.token_mask import (
    Program,
    Trie,
    entry_nodes,
    fill_component_difference,
    fill_component_mask,
    fill_program_mask,
    fill_token_mask,
)
from sestina.lang.errors import UnsatisfiableConstraint

Int32s = NDArray[np.int32]

_BYTE_CLASSES = 256

# A wider alternation is walked as it is: it has many short parts, as an enum.
_MAX_SPREAD = 64


class Component(NamedTuple):
    """A head: the tokens it allows by itself, and the nodes below which a tail could allow more."""

    row: Int32s
    entries: Int32s


class MaskCache:
    """Masks of one machine over one vocabulary, for all its grammars. The machine's lock guards it.

    Counters are clamped to the longest token, so states that differ in far-off counts share their
    masks. Components are for the tokens of at most SHORT_LEN bytes, and see counters clamped to
    that; the longer ones, few, are walked each time. The least recently used masks go first.
    """

    def __init__(self, machine: Machine, trie: TokenTrie, max_bytes: int) -> None:
        self.machine = machine
        self.trie = trie
        self.max_entries = max(1, max_bytes // (4 * trie.num_words))
        self.max_component_bytes = max_bytes
        self.packed = Packed(machine.arena, machine.derivatives)
        self._clamp_short = Clamp(machine.arena, SHORT_LEN)
        self._clamp_whole = Clamp(machine.arena, trie.max_len)
        self._classes = np.arange(_BYTE_CLASSES, dtype=np.uint8)
        self._rows: OrderedDict[int, Int32s] = OrderedDict()
        self._of_state: dict[int, int] = {}
        self._components: OrderedDict[int, Component | None] = OrderedDict()
        self._component_bytes = 0

    @property
    def memory_bytes(self) -> int:
        rows = 4 * self.trie.num_words * len(self._rows)
        return rows + self._component_bytes + self.packed.nbytes

    def mask(self, state: int) -> Int32s:
        """The mask of a live state; do not write to it. Call it under the machine's lock.

        Raises UnsatisfiableConstraint if text must follow and no token of the vocabulary can be
        part of it, ConstraintLimitExceeded if the walk needs too much.
        """
        key = self._of_state.get(state)
        if key is None:
            key = self._clamp_whole.of(self.machine.exprs[state])
            self._of_state[state] = key
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
            return row
        row = self._text_mask(key)
        self._allow_control(key, row)
        if not row.any() and not self.machine.arena.nullable[key]:
            raise UnsatisfiableConstraint(
                "the text must go on here, but no token of the vocabulary can continue it"
            )
        self._rows[key] = row
        while len(self._rows) > self.max_entries:
            self._rows.popitem(last=False)
        return row

    def walk(self, trie: Trie, nodes: Int32s, starts: list[int], row: Int32s) -> None:
        """Set the bits of the tokens below `nodes` that one of the expressions `starts` allows."""
        if len(nodes) and starts and self._run(trie, nodes, starts, row, False) is None:
            state = self.machine.state_of(self.machine.arena.alt(starts))
            self.walk_table(trie, nodes, state, row)

    def walk_table(self, trie: Trie, nodes: Int32s, state: int, row: Int32s) -> None:
        """The same with a state of the automaton: expands what it meets."""
        machine = self.machine
        states = np.full(len(nodes), state, np.int32)
        while len(nodes):
            nodes, states = fill_token_mask(trie, machine.table, self._classes, nodes, states, row)
            for pending in set(states.tolist()):
                machine.expand(pending)

    def _run(
        self, trie: Trie, nodes: Int32s, starts: list[int], row: Int32s, with_exits: bool
    ) -> Int32s | None:
        """Walk as a program; the exits, or None if it outgrew its room."""
        machine = self.machine
        first = np.array(starts, np.int32)
        while True:
            code, pool = self.packed.arrays()
            program = Program(code, pool, machine.table, machine.accepting)
            found = fill_program_mask(trie, program, nodes, first, row, with_exits=with_exits)
            if found is None:
                return None
            exits, unknown = found
            if not len(unknown):
                return exits
            for each in set(unknown.tolist()):
                if each >= 0:
                    machine.expand(each)
                else:
                    self.packed.settle(~each, machine.state_of)

    def _text_mask(self, root: int) -> Int32s:
        """The tokens of text that an expression allows."""
        arena, trie = self.machine.arena, self.trie
        row = np.zeros(trie.num_words, np.int32)
        plain: list[int] = []
        composed: list[int] = []
        seen: set[int] = set()
        todo = [root]
        while todo:
            e = todo.pop()
            if e in seen:
                continue
            seen.add(e)
            head, tail = arena.split(e)
            kind = arena.kind[head]
            component = None
            if kind is Kind.RULE or self.packed.is_state(head):
                component = self._component(self._clamp_short.of(head))
            if component is not None:
                composed.append(e)
                row |= component.row
                if tail != EPSILON:
                    self.walk(trie.short, component.entries, [tail], row)
                    if arena.nullable[head]:
                        todo.append(tail)
            elif kind is Kind.ALT and len(arena.args[head]) <= _MAX_SPREAD:
                todo += [arena.cat(part, tail) for part in arena.args[head]]
            elif kind is Kind.REPEAT:
                item, lo, hi = arena.args[head]
                left = arena.repeat(item, max(lo - 1, 0), None if hi is None else hi - 1)
                todo.append(arena.cat(item, arena.cat(left, tail)))
                if lo == 0:
                    todo.append(tail)
            elif e not in (EMPTY, EPSILON):
                plain.append(e)
        self.walk(trie.all, trie.all.roots, plain, row)
        self.walk(trie.long, trie.long.roots, composed, row)
        return row

    def _component(self, head: int) -> Component | None:
        """None if it is better walked as part of the whole."""
        if head in self._components:
            self._components.move_to_end(head)
            return self._components[head]
        arena = self.machine.arena
        kind = arena.kind[head]
        made: Component | None
        if kind is Kind.RULE:
            made = self._rule_component(head)
        else:
            wider = arena.without_complements(head)
            if wider in (ALL, head):
                made = self._table_component(head)
            else:
                made = self._narrowed_component(head, wider)
        self._components[head] = made
        self._component_bytes += _nbytes(made)
        while self._component_bytes > self.max_component_bytes and len(self._components) > 1:
            _, oldest = self._components.popitem(last=False)
            self._component_bytes -= _nbytes(oldest)
        return made

    def _rule_component(self, head: int) -> Component | None:
        trie = self.trie.short
        row = np.zeros(self.trie.num_words, np.int32)
        exits = self._run(trie, trie.roots, [head], row, True)
        return None if exits is None else Component(row, entry_nodes(trie, exits, row))

    def _table_component(self, head: int) -> Component:
        trie, machine = self.trie.short, self.machine
        row = np.zeros(self.trie.num_words, np.int32)
        state = machine.state_of(head)
        while True:
            entries = fill_component_mask(trie, machine.table, machine.accepting, state, row)
            if entries is not None:
                return Component(row, entries)
            self.walk_table(trie, trie.roots, state, row)

    def _narrowed_component(self, head: int, wider: int) -> Component | None:
        """That of A & ~B from that of A: they differ only where B may still match."""
        trie, machine = self.trie.short, self.machine
        base = self._component(wider)
        if base is None:
            return self._table_component(head)
        state, base_state = machine.state_of(head), machine.state_of(wider)
        machine.expand(state)
        while True:
            row = base.row.copy()
            gone, new, unknown = fill_component_difference(
                trie, machine.table, machine.accepting, state, base_state, row
            )
            if not len(unknown):
                is_gone = np.zeros(len(trie.byte), np.bool_)
                is_gone[gone] = True
                kept = base.entries[~is_gone[base.entries]]
                return Component(row, np.concatenate((kept, new)))
            for each in set(unknown.tolist()):
                machine.expand(each)

    def _allow_control(self, e: int, row: Int32s) -> None:
        machine = self.machine
        bits = row.view(np.uint32)
        allowed = list(self.trie.eos_ids) if machine.arena.nullable[e] else []
        if machine.special_ids:
            for mask, left in machine.derivatives.of(e):
                if mask >> NUM_BYTES and machine.state_of(left):
                    allowed += [
                        token_id
                        for k, token_id in enumerate(machine.special_ids)
                        if mask >> (NUM_BYTES + k) & 1
                    ]
        for token_id in allowed:
            bits[token_id // 32] |= np.uint32(1 << (token_id % 32))


def _nbytes(component: Component | None) -> int:
    return 0 if component is None else component.row.nbytes + component.entries.nbytes
