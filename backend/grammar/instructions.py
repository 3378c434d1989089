"""Writing the instructions that make a grammar's expressions; see `core.assemble`."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence

import numpy as np

from sestina.backend.grammar.alphabet import EVERY_BYTE
from sestina.backend.grammar.core import assemble as ops
from sestina.backend.grammar.core import calls
from sestina.backend.grammar.core.intern import SHARED_TAIL
from sestina.backend.grammar.core.memory import EMPTY, EPSILON, NUM_BYTES, SET_WORDS, Words
from sestina.backend.grammar.core.permute import REPEATS, REQUIRED
from sestina.backend.grammar.limits import Budget
from sestina.backend.grammar.machine import Machine
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsupportedConstraint,
)

# So many words or more are put together by their beginnings, down to _MAX_TREE_DEPTH of those.
_MANY_WORDS = 8
_MAX_TREE_DEPTH = 50

_MAX_COUNT = 1 << 31


class Instructions:
    """Instructions in the making. `add` takes a tree of the IR; nodes that are met again, here or
    in an earlier grammar of the machine, are there once.

    rules: of the grammar; those that an earlier grammar had too, and that mention no others, are
        KNOWN if `reuses_rules`. has_known_rules: whether there were any.
    """

    def __init__(
        self,
        rules: Mapping[str, ir.Expr],
        machine: Machine,
        budget: Budget,
        *,
        reuses_rules: bool = True,
    ) -> None:
        self.rules = rules
        self.machine = machine
        self.reuses_rules = reuses_rules
        self.has_known_rules = False
        self.budget = budget
        self.number_of: dict[int, int] = {}  # by the identity of the node
        self.nodes: dict[int, ir.Expr] = {}  # what is no leaf, by its number
        self.rule_of: dict[str, int] = {}  # numbers of rules, in the order they were met
        self._code: list[int] = []  # four for each instruction
        self._args: list[int] = []
        self._sets: dict[int, int] = {}

    def arrays(self) -> tuple[Words, Words]:
        """code [instructions, 4] and args."""
        # array reads a list of small integers several times as fast as numpy does.
        code, args = (np.array(array("q", words)) for words in (self._code, self._args))
        return code.reshape(-1, 4), args

    def __len__(self) -> int:
        return len(self._code) // 4

    def add(self, root: ir.Expr) -> int:
        """The number of the instruction that makes a tree. About 1 us a node not met before."""
        number_of, code, max_nodes = self.number_of, self._code, self.budget.limits.max_nodes
        number = number_of.get(id(root))
        if number is None:
            number = self._at_once(root)
        stack = [root] if number is None else []
        while stack:
            node = stack[-1]
            parts = ir.parts(node)
            numbers: list[int] = []
            for part in parts:
                number = number_of.get(id(part))
                if number is None:
                    number = self._at_once(part)
                if number is None:
                    stack.append(part)
                else:
                    numbers.append(number)
            if len(numbers) == len(parts):
                stack.pop()
                if id(node) not in number_of:  # it is, if it was on the stack twice
                    number = number_of[id(node)] = self._node(node, parts, numbers)
                    self.nodes[number] = node
            if len(code) // 4 + len(stack) > max_nodes:
                raise self.budget.limits.exceeded("max_nodes")
        return number_of[id(root)]

    def _at_once(self, node: ir.Expr) -> int | None:
        """The instruction of a node without looking into it: a leaf, or met in another grammar."""
        key = id(node)
        if type(node) in ir.LEAVES:
            number = self._leaf(node)
        else:
            built = self.machine.known.find(key)
            if built is None:
                return None
            number = self._add(ops.KNOWN, *built)
        self.number_of[key] = number
        return number

    def _leaf(self, node: ir.Expr) -> int:
        if type(node) is ir.Literal:
            return self._literal(node.data)
        if type(node) is ir.ByteSet:
            return self._byte_set(node.mask)
        if type(node) is ir.Rule:
            return self._rule(node.name)
        assert type(node) is ir.Special
        return self._add(ops.SPECIAL, self._special(node.token))

    def _rule(self, name: str) -> int:
        key = (name, id(self.rules.get(name)))
        built = self.machine.known.find(key) if self.reuses_rules else None
        if built is None:
            return self._add(ops.RULE, self.rule_of.setdefault(name, len(self.rule_of)))
        self.has_known_rules = True
        return self._add(ops.KNOWN, *built)

    def _node(self, node: ir.Expr, parts: Sequence[ir.Expr], numbers: list[int]) -> int:
        """The instruction of a node, given those of its parts."""
        if type(node) is ir.Repeat:
            if node.lo < 0 or (node.hi is not None and node.hi < node.lo):
                raise InvalidConstraint(f"repeat {node.lo} to {node.hi} times")
            if node.lo > _MAX_COUNT:
                raise ConstraintLimitExceeded(f"{node.lo} copies; at most {_MAX_COUNT}")
            # So many are never written: as good as no bound.
            hi = -1 if node.hi is None or node.hi > _MAX_COUNT else node.hi
            return self._add(ops.REPEAT, numbers[0], node.lo, hi)
        if type(node) is ir.Not:
            return self._add(ops.NOT, numbers[0])
        if type(node) is ir.Permute:
            return self._permute(node, numbers)
        op = _OPERATIONS[type(node)]
        if op == ops.ALT and len(parts) >= _MANY_WORDS:
            words = [part.data for part in parts if type(part) is ir.Literal]
            others = [
                n for part, n in zip(parts, numbers, strict=True) if type(part) is not ir.Literal
            ]
            if len(words) >= _MANY_WORDS:
                tree = self._tree(sorted(set(words)), 0)
                numbers = [tree, *others]
        return self._add(op, *self._arguments(numbers))

    def _permute(self, node: ir.Permute, numbers: list[int]) -> int:
        flags = [
            (REQUIRED if part.required else 0) | (REPEATS if part.repeats else 0)
            for part in node.parts
        ]
        hi = -1 if node.hi is None or node.hi > _MAX_COUNT else node.hi
        at, _ = self._arguments([*numbers, min(node.lo, _MAX_COUNT), hi, *flags])
        return self._add(ops.PERMUTE, at, len(numbers))

    def _literal(self, data: bytes) -> int:
        """Exactly these bytes; nothing if the alphabet lacks one."""
        machine = self.machine
        if machine.missing_bytes and not machine.missing_bytes.isdisjoint(data):
            return self._add(ops.KNOWN, EMPTY, 1)
        if len(data) <= SHARED_TAIL:
            return self._add(ops.LITERAL, *self._arguments(data))
        at = machine.literals.get(data)
        if at is None:
            words = np.frombuffer(data, np.uint8)
            at = machine.literals[data] = machine.run(self.budget, calls.add_bytes, words)
        return self._add(ops.LONG, at, len(data))

    def _byte_set(self, mask: int) -> int:
        found = self._sets.get(mask)
        if found is None:
            words = struct.unpack("<4q", (mask & EVERY_BYTE).to_bytes(8 * SET_WORDS, "little"))
            found = self._sets[mask] = self._add(ops.SET, self._arguments(words)[0])
        return found

    def _special(self, token: str) -> int:
        alphabet = self.machine.alphabet
        known = alphabet.control_ids
        if known is None:
            raise UnsupportedConstraint(
                f"control token {token!r} needs a vocabulary; here the grammar is over bytes only",
                keyword=token,
            )
        if token not in known:
            raise InvalidConstraint(f"the vocabulary has no control token {token!r}", keyword=token)
        token_id = known[token]
        if token_id in alphabet.eos_ids:
            raise UnsupportedConstraint(
                f"control token {token!r} ends the text, so a grammar cannot contain it",
                keyword=token,
            )
        return self.machine.special_symbol(token_id) - NUM_BYTES

    def _tree(self, words: Sequence[bytes], depth: int) -> int:
        """Any of some sorted words: as a tree of their beginnings if there are many, so that a
        step looks at few of them."""
        if len(words) < _MANY_WORDS or depth >= _MAX_TREE_DEPTH:
            return self._add(ops.ALT, *self._arguments([self._literal(word) for word in words]))
        shared = _shared_len(words[0], words[-1])
        branches: list[int] = []
        start = 0
        if len(words[0]) == shared:
            branches.append(self._add(ops.KNOWN, EPSILON, 1))
            start = 1
        while start < len(words):
            stop = start
            while stop < len(words) and words[stop][shared] == words[start][shared]:
                stop += 1
            rest = [word[shared:] for word in words[start:stop]]
            branches.append(self._tree(rest, depth + 1))
            start = stop
        whole = self._add(ops.ALT, *self._arguments(branches))
        if not shared:
            return whole
        head = self._literal(words[0][:shared])
        return self._add(ops.CAT, *self._arguments([head, whole]))

    def _add(self, op: int, x: int = 0, y: int = 0, z: int = 0) -> int:
        self._code += (op, x, y, z)
        return len(self._code) // 4 - 1

    def _arguments(self, values: Sequence[int]) -> tuple[int, int]:
        at = len(self._args)
        self._args += values
        return at, len(values)


_OPERATIONS: Mapping[type[ir.Expr], int] = {ir.Concat: ops.CAT, ir.Alt: ops.ALT, ir.And: ops.AND}


def _shared_len(a: bytes, b: bytes) -> int:
    """How many bytes two words begin with alike; of a sorted list, first and last tell for all."""
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count
