"""From the constraint IR to expressions: resolves rules, refuses what cannot be enforced.

Most of a grammar has no rules in it: those nodes are built as they are met, and remembered by
identity in the machine, since lowering uses the same nodes for the same things again and again.
Only the nodes above rules wait for the analysis (`sestina.backend.grammar.analysis`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from sestina.backend.grammar import analysis
from sestina.backend.grammar.expr import EMPTY, EPSILON, EVERY_BYTE, resolve
from sestina.backend.grammar.machine import Built, Machine
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)


def build(grammar: ir.Grammar, machine: Machine) -> int:
    """The grammar's expression in the machine's arena; raises a ConstraintError.

    Linear in the nodes that the machine has not met before, but for `And` and `Not`, about 6 us
    each. Call it under the machine's lock.
    """
    before = machine.nodes_met_once
    builder = _Builder(grammar, machine)
    try:
        start = builder.run()
    finally:
        for key in before:
            del machine.nodes[key]
        machine.nodes_met_once = builder.fresh
    if start == EMPTY:
        raise UnsatisfiableConstraint("no text matches the constraint")
    return start


@dataclass(slots=True)
class _Builder:
    grammar: ir.Grammar
    machine: Machine
    bodies: analysis.Bodies = field(default_factory=dict)
    fresh: set[int] = field(default_factory=set)
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
        todo: list[str | None] = [None]
        while todo:
            name = todo.pop()
            if name in self.bodies:
                continue
            root = self.grammar.start if name is None else self.grammar.rules[name]
            nodes, mentions = self._open_part(root)
            self.bodies[name] = analysis.Body(root, nodes, mentions)
            for other in mentions:
                if other not in self.grammar.rules:
                    raise InvalidConstraint(
                        f"rule {other!r} is used but not defined", keyword=other
                    )
            todo += mentions

    def _open_part(self, root: ir.Expr) -> tuple[list[ir.Expr], frozenset[str]]:
        """The nodes of a body with rules in them, parts first, and those rules."""
        known, once = self.machine.nodes, self.machine.nodes_met_once
        height: dict[int, int] = {}
        order: list[ir.Expr] = []
        mentions: set[str] = set()
        stack = [(root, False)]
        while stack:
            node, parts_done = stack.pop()
            key = id(node)
            if key in known or key in height:
                once.discard(key)
                continue
            parts = analysis.children(node)
            if parts and not parts_done:
                stack.append((node, True))
                self._check_size(len(stack))
                stack += [(part, False) for part in parts if id(part) not in height]
                continue
            built = [known.get(id(part)) for part in parts]
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
                known[key] = self._closed(node, [each for each in built if each], tall)
                self.fresh.add(key)
            self._check_size(len(self.fresh) + len(self._node), tall)
        return order, frozenset(mentions)

    def _check_size(self, num_nodes: int, height: int = 0) -> None:
        limits = self.machine.arena.budget.limits
        if num_nodes > limits.max_nodes:
            raise limits.exceeded("max_nodes")
        if height > limits.max_nesting:
            raise limits.exceeded("max_nesting")

    def _closed(self, node: ir.Expr, parts: list[Built], height: int) -> Built:
        """A node without rules, from its parts."""
        special = next((part.special for part in parts if part.special), None)
        if type(node) is ir.Special:
            special = node.token
        if special is not None and type(node) in (ir.And, ir.Not):
            raise _inside_boolean(special)
        return Built(node, self._combine(node, [part.expr for part in parts]), height, special)

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
        return analysis.EMPTY_TEXT if self.machine.arena.nullable[e] else analysis.SOME_TEXT

    # ---- rules: each is a node of its own, outside of And and Not

    def _rules(self, order: list[str], values: Mapping[str, int]) -> dict[str, int]:
        """An expression for each rule; equal rules of other grammars are the same.

        In `order`, a rule mentions only itself and those before it, so its body with a mark in its
        own place says all about it. The others are known to this grammar alone.
        """
        arena = self.machine.arena
        rules = {name: EMPTY for name, value in values.items() if not value}
        done = set(order)
        own = object()
        for name, value in values.items():
            if value and name not in done:
                rules[name] = arena.rule((own, name), value == analysis.EMPTY_TEXT)
        for name in order:
            nullable = values[name] == analysis.EMPTY_TEXT
            if name in rules:
                continue
            key: Hashable
            if name in self.bodies[name].mentions:
                mark = arena.rule(("itself", nullable), nullable)
                key = ("recursive", self._build_body(name, {**rules, name: mark}))
            else:
                key = ("body", self._build_body(name, rules))
            rules[name] = arena.rule(key, nullable)
            self._set_body(rules[name], name, rules)
        for name in values:
            if name not in done:
                self._set_body(rules[name], name, rules)
        return rules

    def _set_body(self, rule: int, name: str, rules: Mapping[str, int]) -> None:
        if rule != EMPTY and rule not in self.machine.arena.rule_body:
            self.machine.arena.rule_body[rule] = self._build_body(name, rules)

    def _build_body(self, name: str | None, rules: Mapping[str, int]) -> int:
        known = self.machine.nodes
        made: dict[int, int] = {}

        def of(part: ir.Expr) -> int:
            built = known.get(id(part))
            return made[id(part)] if built is None else built.expr

        for node in self.bodies[name].open:
            if type(node) is ir.Rule:
                made[id(node)] = rules[node.name]
            elif type(node) in (ir.And, ir.Not):
                made[id(node)] = self._inline(node)
            else:
                made[id(node)] = self._combine(node, [of(p) for p in analysis.children(node)])
        return of(self.bodies[name].root)

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
        return self._combine(node, [self._inlined[id(p)] for p in analysis.children(node)])

    # ---- everywhere

    def _combine(self, node: ir.Expr, parts: list[int]) -> int:
        """The expression of a node from those of its parts."""
        arena = self.machine.arena
        if type(node) is ir.Literal:
            return self._literal(node.data)
        if type(node) is ir.ByteSet:
            return arena.symbol_set(node.mask & EVERY_BYTE)
        if type(node) is ir.Concat:
            return self._concat(node.items, parts)
        if type(node) is ir.Alt:
            return arena.alt(parts)
        if type(node) is ir.Repeat:
            if node.lo < 0 or (node.hi is not None and node.hi < node.lo):
                raise InvalidConstraint(f"repeat {node.lo} to {node.hi} times")
            return arena.repeat(parts[0], node.lo, node.hi)
        if type(node) is ir.And:
            return self.machine.liveness.live(arena.both(parts))
        if type(node) is ir.Not:
            return self.machine.liveness.live(arena.complement(parts[0]))
        if type(node) is ir.Special:
            return self._special(node.token)
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
        return self.machine.arena.symbol_set(1 << self.machine.special_symbol(token_id))

    def _literal(self, data: bytes) -> int:
        missing = self.machine.missing_bytes
        if missing and not missing.isdisjoint(data):
            return EMPTY
        return self.machine.arena.literal(data)

    def _concat(self, items: tuple[ir.Expr, ...], parts: list[int]) -> int:
        """A sequence from its end, runs of literals joined."""
        cat = self.machine.arena.cat
        out = EPSILON
        run: list[bytes] = []
        for item, part in zip(reversed(items), reversed(parts), strict=True):
            if type(item) is ir.Literal:
                run.append(item.data)
                continue
            if run:
                out = cat(self._literal(b"".join(reversed(run))), out)
                run = []
            out = cat(part, out)
        return cat(self._literal(b"".join(reversed(run))), out) if run else out


def _inside_boolean(token: str) -> UnsupportedConstraint:
    return UnsupportedConstraint(
        f"control token {token!r} stands inside an intersection or a complement, "
        "which are over bytes",
        keyword=token,
    )
