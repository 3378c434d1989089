"""From the constraint IR to expressions: one pass over the IR, the rest in the core.

Nodes without rules are remembered by identity in the machine, since lowering uses the same nodes
for the same things again and again, and so are rules that mention no others (any JSON value).
"""

from __future__ import annotations

import numpy as np

from sestina.backend.grammar.core import assemble as ops
from sestina.backend.grammar.core import calls
from sestina.backend.grammar.core import link as linking
from sestina.backend.grammar.core import rules as grammar_rules
from sestina.backend.grammar.core.memory import EMPTY, Words
from sestina.backend.grammar.core.rules import Lists, Order
from sestina.backend.grammar.instructions import Instructions
from sestina.backend.grammar.known import Nodes
from sestina.backend.grammar.limits import Budget
from sestina.backend.grammar.machine import Machine
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)


def build(grammar: ir.Grammar, machine: Machine, budget: Budget) -> int:
    """The grammar's expression in the machine; raises a ConstraintError.

    Linear in the nodes that the machine has not met before, but for `And` and `Not`, about 1.5 us
    each. Call it under the machine's lock.
    """
    builder = _Builder(grammar, machine, budget)
    try:
        start = builder.run()
    finally:
        machine.known.next_grammar(builder.fresh)
    if start == EMPTY:
        raise UnsatisfiableConstraint("no text matches the constraint")
    return start


class _Builder:
    """One grammar being built; `fresh` are the nodes and rules that it brought into the machine."""

    def __init__(
        self, grammar: ir.Grammar, machine: Machine, budget: Budget, *, reuses_rules: bool = True
    ) -> None:
        self.grammar = grammar
        self.machine = machine
        self.budget = budget
        self.fresh = Nodes()
        self._make = Instructions(grammar.rules, machine, budget, reuses_rules=reuses_rules)
        self._names: list[str] = []

    def run(self) -> int:
        roots = self._collect()
        code, args = self._make.arrays()
        out = self._assemble(code, args)
        if self._make.has_known_rules and ops.has_rules_in_booleans(code, out):
            # Whether it can be done is a matter of what the rules are, so they are read again.
            again = _Builder(self.grammar, self.machine, self.budget, reuses_rules=False)
            again.fresh = self.fresh
            return again.run()
        if not self._make.rule_of:
            return int(out[roots[0]])
        parts, order = _order(code, args, out, roots)
        if self._inline_booleans(code, args, out, roots, parts, order):
            parts, order = _order(code, args, out, roots)
        start = self._link(code, args, out, roots, parts, order)
        while self._drop_dead(code, args, out, parts):
            parts, order = _order(code, args, out, roots)
            start = self._link(code, args, out, roots, parts, order)
        self._remember_rules(linking.alone(code, parts, order))
        return start

    def _assemble(self, code: Words, args: Words) -> Words:
        """The expressions of closed instructions, which are remembered."""
        heights = ops.heights(code, args)
        limits = self.budget.limits
        if heights.max() > limits.max_nesting:
            raise limits.exceeded("max_nesting")
        out = self.machine.run(self.budget, ops.assemble_closed, code, args)
        _refuse_specials(out)
        self._remember(out, heights)
        return out

    def _link(
        self, code: Words, args: Words, out: Words, roots: Words, parts: Lists, order: Order
    ) -> int:
        run, budget = self.machine.run, self.budget
        values = run(budget, grammar_rules.values_of_rules, code, args, out, roots, parts)
        if order.endless.any():
            self._refuse_left_recursion(code, args, out, roots, parts, values)
        start, self._made, self._rules = run(
            budget, linking.link, code, args, out, roots, parts, order, values
        )
        return int(start)

    def _drop_dead(self, code: Words, args: Words, out: Words, parts: Lists) -> bool:
        """Make EMPTY what an And over recursion leaves empty; whether there was any."""
        found = False
        for i in sorted(set(parts.items.tolist())):
            if code[i, 0] == ops.AND and out[i] < 0 and self._made[i] != EMPTY:
                alive = self.machine.run(self.budget, calls.make_live, int(self._made[i]))
                if alive == EMPTY:
                    out[i] = EMPTY
                    found = True
        return found

    def _collect(self) -> Words:
        """Instructions for the start and what rules it reaches; the number of each one's last."""
        make, rules = self._make, self.grammar.rules
        roots = [make.add(self.grammar.start)]
        while len(roots) <= len(make.rule_of):
            name = self._name(len(roots) - 1)
            if name not in rules:
                raise InvalidConstraint(f"rule {name!r} is used but not defined", keyword=name)
            roots.append(make.add(rules[name]))
        return np.array(roots, np.int64)

    def _name(self, rule: int) -> str:
        while len(self._names) < len(self._make.rule_of):
            self._names = list(self._make.rule_of)
        return self._names[rule]

    def _remember(self, out: Words, heights: Words) -> None:
        """Keep the closed nodes: the next grammar may have them too. What has rules is another
        thing where the same names stand for others."""
        exprs, tall = ops.without_rules(self.machine.mem, out).tolist(), heights.tolist()
        add = self.fresh.add
        for number, node in self._make.nodes.items():
            if exprs[number] >= 0:
                add(id(node), node, exprs[number], tall[number])

    def _remember_rules(self, alone: Words) -> None:
        """Keep the rules that mention no others."""
        for rule, expr in zip(alone.tolist(), self._rules[alone].tolist(), strict=True):
            name = self._name(rule)
            body = self.grammar.rules[name]
            if expr != EMPTY:
                self.fresh.add((name, id(body)), body, expr, 1)

    def _inline_booleans(
        self, code: Words, args: Words, out: Words, roots: Words, parts: Lists, order: Order
    ) -> bool:
        """Give And and Not their expressions, rules expanded; whether there are any."""
        endless = linking.endless_parts(code, args, out, order)
        inside = linking.regular_parts(code, args, out, roots, parts, endless)
        if not inside.any():
            return False
        for i in np.flatnonzero(inside == 2).tolist():
            if code[i, 0] == ops.RULE:
                name = self._name(int(code[i, 1]))
                raise UnsupportedConstraint(
                    f"rule {name!r} is recursive and stands inside a complement, or beside other "
                    "recursion inside an intersection, which cannot be enforced exactly",
                    keyword=name,
                )
        self.machine.run(
            self.budget, linking.inline_regular, code, args, out, roots, parts, order, inside
        )
        _refuse_specials(out)
        return True

    def _refuse_left_recursion(
        self, code: Words, args: Words, out: Words, roots: Words, parts: Lists, values: Words
    ) -> None:
        mem = self.machine.mem
        path = grammar_rules.left_recursion(mem, code, args, out, roots, parts, values)
        if len(path):
            names = [self._name(rule) for rule in path.tolist()]
            raise UnsupportedConstraint(
                f"left-recursive rule: {' -> '.join(names)}; rewrite it as a repetition",
                keyword=names[0],
            )


def _order(code: Words, args: Words, out: Words, roots: Words) -> tuple[Lists, Order]:
    """The open instructions of each body, and the rules in order."""
    parts = grammar_rules.open_parts(code, args, out, roots)
    return parts, grammar_rules.order_of(grammar_rules.mentions(code, parts))


def _refuse_specials(out: Words) -> None:
    if (out == ops.SPECIAL_IN_BOOLEAN).any():
        raise UnsupportedConstraint(
            "a control token stands inside an intersection or a complement, which are over bytes",
            keyword="special",
        )
