"""Writing the instructions that make a grammar's expressions; see `core.assemble`."""

from __future__ import annotations

import struct
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

# Nodes nested deeper than this are gone through with a stack of their own.
_MAX_RECURSION = 100


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
        return _words(self._code).reshape(-1, 4), _words(self._args)

    def __len__(self) -> int:
        return len(self._code) // 4

    def add(self, root: ir.Expr) -> int:
        """The number of the instruction that makes a tree. About 0.8 us a node not met before."""
        number = self.number_of.get(id(root))
        return self._new(root, 0) if number is None else number

    def _new(self, node: ir.Expr, depth: int) -> int:
        """The instruction of a node that has none yet, after those of its parts."""
        kind = type(node)
        if kind is ir.Literal:
            number = self._literal(node.data)  # type: ignore[union-attr]
        elif kind is ir.Rule:
            number = self._rule(node.name)  # type: ignore[union-attr]
        elif kind is ir.ByteSet:
            number = self._byte_set(node.mask)  # type: ignore[union-attr]
        elif kind is ir.Special:
            number = self._add(ops.SPECIAL, self._special(node.token))  # type: ignore[union-attr]
        else:
            built = self.machine.known.find(id(node))
            if built is not None:
                number = self._add(ops.KNOWN, *built)
            elif depth >= _MAX_RECURSION:
                return self._deep(node)
            else:
                parts, find = ir.parts(node), self.number_of.get
                numbers: list[int] = []
                for part in parts:
                    known = find(id(part))
                    numbers.append(self._new(part, depth + 1) if known is None else known)
                number = self._node(node, parts, numbers)
                self.nodes[number] = node
                if number >= self.budget.limits.max_nodes:
                    raise self.budget.limits.exceeded("max_nodes")
        self.number_of[id(node)] = number
        return number

    def _deep(self, root: ir.Expr) -> int:
        """The same without recursion: nodes that are not met yet wait for their parts."""
        number_of, known = self.number_of, self.machine.known
        stack = [root]
        while stack:
            node = stack[-1]
            waiting = [
                part
                for part in ir.parts(node)
                if type(part) not in ir.LEAVES
                and id(part) not in number_of
                and id(part) not in known
            ]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            if id(node) not in number_of:  # it is, if it was on the stack twice
                self._new(node, 0)
        return number_of[id(root)]

    def _rule(self, name: str) -> int:
        key = (name, id(self.rules.get(name)))
        built = self.machine.known.find(key) if self.reuses_rules else None
        if built is None:
            return self._add(ops.RULE, self.rule_of.setdefault(name, len(self.rule_of)))
        self.has_known_rules = True
        return self._add(ops.KNOWN, *built)

    def _node(self, node: ir.Expr, parts: Sequence[ir.Expr], numbers: list[int]) -> int:
        """The instruction of a node, given those of its parts."""
        op = _OPERATIONS.get(type(node))
        if op is None:
            return self._other_node(node, numbers)
        if op == ops.ALT and len(parts) >= _MANY_WORDS:
            words = [part.data for part in parts if type(part) is ir.Literal]
            others = [
                n for part, n in zip(parts, numbers, strict=True) if type(part) is not ir.Literal
            ]
            if len(words) >= _MANY_WORDS:
                numbers = [self._tree(sorted(set(words)), 0), *others]
        return self._add_list(op, numbers)

    def _other_node(self, node: ir.Expr, numbers: list[int]) -> int:
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
        assert type(node) is ir.Permute
        return self._permute(node, numbers)

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
            return self._add_list(ops.LITERAL, data)
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
            return self._add_list(ops.ALT, [self._literal(word) for word in words])
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
        whole = self._add_list(ops.ALT, branches)
        if not shared:
            return whole
        head = self._literal(words[0][:shared])
        return self._add_list(ops.CAT, [head, whole])

    def _add(self, op: int, x: int = 0, y: int = 0, z: int = 0) -> int:
        code = self._code
        number = len(code) // 4
        code += (op, x, y, z)
        return number

    def _add_list(self, op: int, values: Sequence[int]) -> int:
        """An instruction that takes a list."""
        code, args = self._code, self._args
        number = len(code) // 4
        code += (op, len(args), len(values), 0)
        args += values
        return number

    def _arguments(self, values: Sequence[int]) -> tuple[int, int]:
        at = len(self._args)
        self._args += values
        return at, len(values)


_OPERATIONS: Mapping[type[ir.Expr], int] = {ir.Concat: ops.CAT, ir.Alt: ops.ALT, ir.And: ops.AND}


def _words(values: list[int]) -> Words:
    # Several times as fast as numpy reads a list of small integers. It is written to by nobody.
    return np.frombuffer(bytearray(struct.pack(f"{len(values)}q", *values)), np.int64)


def _shared_len(a: bytes, b: bytes) -> int:
    """How many bytes two words begin with alike; of a sorted list, first and last tell for all."""
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count
