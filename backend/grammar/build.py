"""From the constraint IR to expressions: resolves rules, refuses what cannot be enforced.

Most of a grammar has no rules in it: those nodes are built all at once, and remembered by identity
in the machine, since lowering uses the same nodes for the same things again and again. Only the
nodes above rules wait for the analysis (`sestina.backend.grammar.analysis`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sestina.backend.grammar import analysis
from sestina.backend.grammar.alphabet import EVERY_BYTE
from sestina.backend.grammar.core import calls
from sestina.backend.grammar.core.memory import EMPTY, NUM_BYTES
from sestina.backend.grammar.instructions import Instructions
from sestina.backend.grammar.limits import Budget
from sestina.backend.grammar.machine import Built, Machine
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)


def build(grammar: ir.Grammar, machine: Machine, budget: Budget) -> int:
    """The grammar's expression in the machine; raises a ConstraintError.

    Linear in the nodes that the machine has not met before, but for `And` and `Not`, about 2 us
    each. Call it under the machine's lock.
    """
    before = machine.nodes_met_once
    builder = _Builder(grammar, machine, budget)
    try:
        start = builder.run()
    finally:
        for key in before:
            del machine.nodes[key]
        machine.nodes_met_once = builder.fresh
    if start == EMPTY:
        raise UnsatisfiableConstraint("no text matches the constraint")
    return start


class _Closed(NamedTuple):
    """A node without rules that is being built: the number of its instruction."""

    node: ir.Expr
    number: int
    height: int
    special: str | None


@dataclass(slots=True)
class _Builder:
    grammar: ir.Grammar
    machine: Machine
    budget: Budget
    bodies: analysis.Bodies = field(default_factory=dict)
    fresh: set[int] = field(default_factory=set)
    _closed: dict[int, _Closed] = field(default_factory=dict)
    _inlined: dict[int, int] = field(default_factory=dict)
    _node: dict[int, ir.Expr] = field(default_factory=dict)
    _endless: frozenset[str] = frozenset()

    def run(self) -> int:
        self._reach()
        order, self._endless = analysis.rule_order(self.bodies)
        values = analysis.fixpoint(self.bodies, self._value)
        if self._endless:
            of = analysis.node_values(self._open_nodes(), values, self._value)
            analysis.refuse_left_recursion(
                self.bodies,
                lambda node: of[id(node)] == analysis.EMPTY_TEXT,
                lambda node: id(node) in self.machine.nodes,
            )
        rules = self._rules(order, values)
        return self._build_body(None, rules)

    def _open_nodes(self) -> Iterable[ir.Expr]:
        return (node for body in self.bodies.values() for node in body.open)

    # ---- what can be reached; nodes without rules are built on the way

    def _reach(self) -> None:
        make = Instructions(self.machine, self.budget)
        todo: list[str | None] = [None]
        while todo:
            name = todo.pop()
            if name in self.bodies:
                continue
            root = self.grammar.start if name is None else self.grammar.rules[name]
            nodes, mentions = self._open_part(root, make)
            self.bodies[name] = analysis.Body(root, nodes, mentions)
            for other in mentions:
                if other not in self.grammar.rules:
                    raise InvalidConstraint(
                        f"rule {other!r} is used but not defined", keyword=other
                    )
            todo += mentions
        made = make.run()
        for key, (node, number, height, special) in self._closed.items():
            self.machine.nodes[key] = Built(node, made[number], height, special)
            self.fresh.add(key)

    def _open_part(self, root: ir.Expr, make: Instructions) -> tuple[list[ir.Expr], frozenset[str]]:
        """The nodes of a body with rules in them, parts first, and those rules."""
        known, once, closed = self.machine.nodes, self.machine.nodes_met_once, self._closed
        height: dict[int, int] = {}
        order: list[ir.Expr] = []
        mentions: set[str] = set()
        stack = [(root, False)]
        while stack:
            node, parts_done = stack.pop()
            key = id(node)
            if key in closed or key in height:
                continue
            if key in known:
                once.discard(key)
                continue
            parts = analysis.children(node)
            if parts and not parts_done:
                stack.append((node, True))
                self._check_size(len(stack))
                stack += [(part, False) for part in parts if id(part) not in height]
                continue
            built = [closed.get(id(part)) or known.get(id(part)) for part in parts]
            tall = 1
            for part, each in zip(parts, built, strict=True):
                below = height[id(part)] if each is None else each.height
                if below >= tall:
                    tall = below + 1
            if type(node) is ir.Rule or None in built:
                height[key] = tall
                order.append(node)
                self._node[key] = node
                if type(node) is ir.Rule:
                    mentions.add(node.name)
            else:
                self._close(node, [each for each in built if each], tall, make)
            self._check_size(len(closed) + len(self._node), tall)
        return order, frozenset(mentions)

    def _check_size(self, num_nodes: int, height: int = 0) -> None:
        limits = self.budget.limits
        if num_nodes > limits.max_nodes:
            raise limits.exceeded("max_nodes")
        if height > limits.max_nesting:
            raise limits.exceeded("max_nesting")

    def _close(
        self, node: ir.Expr, parts: Sequence[_Closed | Built], height: int, make: Instructions
    ) -> None:
        """A node without rules, from its parts."""
        special = next((part.special for part in parts if part.special), None)
        if type(node) is ir.Special:
            special = node.token
        if special is not None and type(node) in (ir.And, ir.Not):
            raise _inside_boolean(special)
        numbers = [
            part.number if type(part) is _Closed else make.known(part.expr)  # type: ignore[union-attr]
            for part in parts
        ]
        self._closed[id(node)] = _Closed(node, self._emit(node, numbers, make), height, special)

    def _value(self, node: ir.Expr) -> int | None:
        """NO_TEXT, SOME_TEXT or EMPTY_TEXT where the rules do not matter for it."""
        built = self.machine.nodes.get(id(node))
        if built is not None:
            e = built.expr
        elif type(node) in (ir.And, ir.Not):
            e = self._inline(node)
        else:
            return None
        if e == EMPTY:
            return analysis.NO_TEXT
        return analysis.EMPTY_TEXT if self.machine.is_accepting(e) else analysis.SOME_TEXT

    # ---- rules: each is a node of its own, outside of And and Not

    def _rules(self, order: list[str], values: Mapping[str, int]) -> dict[str, int]:
        """An expression for each rule; equal rules of other grammars are the same.

        In `order`, a rule mentions only itself and those before it, so its body with a mark in its
        own place says all about it. The others are known to this grammar alone.
        """
        rules = {name: EMPTY for name, value in values.items() if not value}
        done = set(order)
        own = object()
        for name, value in values.items():
            if value and name not in done:
                rules[name] = self._rule((own, name), value == analysis.EMPTY_TEXT)
        for name in order:
            nullable = values[name] == analysis.EMPTY_TEXT
            if name in rules:
                continue
            key: Hashable
            if name in self.bodies[name].mentions:
                mark = self._rule(("itself", nullable), nullable)
                body = self._build_body(name, {**rules, name: mark})
                rules[name] = self._rule(("recursive", body), nullable)
                body = self._build_body(name, rules)
            else:
                body = self._build_body(name, rules)
                rules[name] = self._rule(("body", body), nullable)
            self._set_body(rules[name], body)
        for name in values:
            if name not in done and rules[name] != EMPTY:
                self._set_body(rules[name], self._build_body(name, rules))
        return rules

    def _rule(self, key: Hashable, nullable: bool) -> int:
        """The rule that a key tells apart."""
        rules = self.machine.rules
        found = rules.get(key)
        if found is None:
            # Whether control tokens are in it shows only once it has its body: any rule may.
            has_special = bool(self.machine.special_ids)
            made = self.machine.run(self.budget, calls.make_rule, len(rules), nullable, has_special)
            found = rules[key] = made
        return found

    def _set_body(self, rule: int, body: int) -> None:
        calls.give_body(self.machine.mem, rule, body)

    def _build_body(self, name: str | None, rules: Mapping[str, int]) -> int:
        known = self.machine.nodes
        body = self.bodies[name]
        if not body.open:
            return known[id(body.root)].expr
        make = Instructions(self.machine, self.budget)
        numbers: dict[int, int] = {}

        def of(part: ir.Expr) -> int:
            found = numbers.get(id(part))
            return make.known(known[id(part)].expr) if found is None else found

        for node in body.open:
            if type(node) is ir.Rule:
                number = make.known(rules[node.name])
            elif type(node) in (ir.And, ir.Not):
                number = make.known(self._inline(node))
            else:
                number = self._emit(node, [of(p) for p in analysis.children(node)], make)
            numbers[id(node)] = number
        return make.run()[of(body.root)]

    # ---- inside And and Not: rules are expanded, so that what is left is regular

    def _inline(self, node: ir.Expr) -> int:
        return resolve(id(node), self._inlined, self._inline_operands, self._inline_combine)

    def _inline_operands(self, key: int) -> Iterable[int]:
        if key in self.machine.nodes:
            return ()
        node = self._node[key]
        if type(node) is ir.Rule:
            if node.name in self._endless:
                raise UnsupportedConstraint(
                    f"rule {node.name!r} is recursive and stands inside an intersection or a "
                    "complement, which cannot be enforced exactly",
                    keyword=node.name,
                )
            return (id(self.bodies[node.name].root),)
        return map(id, analysis.children(node))

    def _inline_combine(self, key: int) -> int:
        built = self.machine.nodes.get(key)
        if built is not None:
            if built.special is not None:
                raise _inside_boolean(built.special)
            return built.expr
        node = self._node[key]
        if type(node) is ir.Rule:
            return self._inlined[id(self.bodies[node.name].root)]
        make = Instructions(self.machine, self.budget)
        parts = [make.known(self._inlined[id(part)]) for part in analysis.children(node)]
        number = self._emit(node, parts, make)
        return make.run()[number]

    # ---- everywhere

    def _emit(self, node: ir.Expr, parts: list[int], make: Instructions) -> int:
        """The instruction that makes a node from its parts."""
        if type(node) is ir.Literal:
            return make.literal(node.data)
        if type(node) is ir.ByteSet:
            return make.byte_set(node.mask & EVERY_BYTE)
        if type(node) is ir.Concat:
            return self._emit_concat(node.items, parts, make)
        if type(node) is ir.Alt:
            return _emit_alt(node.items, parts, make)
        if type(node) is ir.Repeat:
            if node.lo < 0 or (node.hi is not None and node.hi < node.lo):
                raise InvalidConstraint(f"repeat {node.lo} to {node.hi} times")
            return make.repeat(parts[0], node.lo, node.hi)
        if type(node) is ir.And:
            return make.both(parts)
        if type(node) is ir.Not:
            return make.complement(parts[0])
        if type(node) is ir.Special:
            return make.special(self._special(node.token))
        raise InvalidConstraint(f"{type(node).__name__} is not a node of a grammar")

    def _special(self, token: str) -> int:
        known = self.machine.alphabet.control_ids
        if known is None:
            raise UnsupportedConstraint(
                f"control token {token!r} needs a vocabulary; here the grammar is over bytes only",
                keyword=token,
            )
        if token not in known:
            raise InvalidConstraint(f"the vocabulary has no control token {token!r}", keyword=token)
        token_id = known[token]
        if token_id in self.machine.alphabet.eos_ids:
            raise UnsupportedConstraint(
                f"control token {token!r} ends the text, so a grammar cannot contain it",
                keyword=token,
            )
        return self.machine.special_symbol(token_id) - NUM_BYTES

    def _emit_concat(self, items: tuple[ir.Expr, ...], parts: list[int], make: Instructions) -> int:
        """A sequence, runs of literals joined."""
        joined: list[int] = []
        run: list[bytes] = []
        for item, part in zip(items, parts, strict=True):
            if type(item) is ir.Literal:
                run.append(item.data)
                continue
            if run:
                joined.append(make.literal(b"".join(run)))
                run = []
            joined.append(part)
        if run or not joined:
            joined.append(make.literal(b"".join(run)))
        return make.cat(joined)


def _emit_alt(items: tuple[ir.Expr, ...], parts: list[int], make: Instructions) -> int:
    words = [item.data for item in items if type(item) is ir.Literal]
    if len(words) < 2:
        return make.alt(parts)
    others = [p for item, p in zip(items, parts, strict=True) if type(item) is not ir.Literal]
    return make.alt([make.any_of(words), *others])


def resolve(
    root: int,
    memo: dict[int, int],
    operands: Callable[[int], Iterable[int]],
    combine: Callable[[int], int],
) -> int:
    """memo[root], after filling in whatever it needs: recursion on a stack of our own.

    `operands(e)` must be in `memo` before `combine(e)` is called; there must be no cycles.
    """
    stack = [root]
    while stack:
        top = stack[-1]
        if top not in memo:
            missing = [e for e in operands(top) if e not in memo]
            if missing:
                stack.extend(missing)
                continue
            memo[top] = combine(top)
        stack.pop()
    return memo[root]


def _inside_boolean(token: str) -> UnsupportedConstraint:
    return UnsupportedConstraint(
        f"control token {token!r} stands inside an intersection or a complement, "
        "which are over bytes",
        keyword=token,
    )
