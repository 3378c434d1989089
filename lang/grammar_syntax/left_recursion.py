"""Removes left recursion: the same language, and no rule that can begin with itself.

Rules that can begin with one another form a left-linear system of equations: with A+ for the
non-empty texts of A, every such rule is

    A+ = B+ X_AB | C+ X_AC | ... | Y_A        where Y_A begins with none of them

so a text of A is some Y_C followed by the X on a way from C to A. For one rule that is Y X*; for
several, `tail C A` is what may follow C until A is complete, a rule for each pair: the left-corner
transform (Rosenkrantz and Lewis 1970; Johnson 1998). Splitting off the empty text first makes
nullable prefixes, hidden left recursion and unit cycles ordinary cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintLimitExceeded, UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, maybe, seq, times
from sestina.lang.grammar_syntax.components import components
from sestina.lang.grammar_syntax.references import Bodies, postorder
from sestina.lang.grammar_syntax.values import Values

MAX_REWRITE = 100_000
"""Nodes that rewriting may make."""


@dataclass(slots=True)
class Split:
    """The non-empty texts of an expression by how they begin.

    after: for each rule of a component, what follows it where it comes first, and whether that can
    be empty. rest: the texts that begin otherwise.
    """

    after: dict[str, tuple[ir.Expr, bool]] = field(default_factory=dict)
    rest: ir.Expr = ir.NOTHING


def without_left_recursion(bodies: Mapping[str, ir.Expr], values: Values) -> Bodies:
    """The same rules (and new ones, named with a leading %) without left recursion.

    values: of `bodies`.
    Linear for rules that begin with themselves; the square of the number of rules that begin with
    one another. Raises ConstraintLimitExceeded when that passes MAX_REWRITE, UnsupportedConstraint
    for left recursion through an intersection.
    """
    return _Rewriter(bodies, values).run()


class _Rewriter:
    def __init__(self, bodies: Mapping[str, ir.Expr], values: Values) -> None:
        self.original = bodies
        self.bodies = dict(bodies)
        self.values = values
        self.nonempty: dict[str, str] = {}
        self.pending: list[str] = []
        self.made = 0
        self.rewriting = ""

    def run(self) -> Bodies:
        edges = {name: self._first_rules(body) for name, body in self.original.items()}
        # A component comes after those that it begins with, so their rewritten forms are known.
        for members in components(edges):
            if len(members) > 1 or members[0] in edges[members[0]]:
                self._rewrite(members)
        return self.bodies

    def _first_rules(self, body: ir.Expr) -> list[str]:
        return [n.name for n in postorder(body, self._first_parts) if isinstance(n, ir.Rule)]

    def _first_parts(self, node: ir.Expr) -> tuple[ir.Expr, ...]:
        """The parts that a text of the node can begin in."""
        if not isinstance(node, ir.Concat):
            return ir.parts(node)
        for at, item in enumerate(node.items):
            if not self.values.starts_empty(item):
                return node.items[: at + 1]
        return node.items

    def _spend(self, num_nodes: int) -> None:
        self.made += num_nodes
        if self.made > MAX_REWRITE:
            raise ConstraintLimitExceeded(
                f"removing the left recursion of rule {self.rewriting} takes more than "
                f"{MAX_REWRITE} nodes",
                keyword=self.rewriting,
            )

    # ---- one component

    def _rewrite(self, members: list[str]) -> None:
        self.rewriting = min(members)
        among = frozenset(members)
        for name in members:
            is_nullable = self.values.starts_empty(self.original[name])
            self.nonempty[name] = f"%nonempty {name}" if is_nullable else name
        splits = {name: self._split(self.original[name], among) for name in members}
        solved = self._solve_one(members[0], splits) if len(members) == 1 else self._solve(splits)
        for name in members:
            nonempty = self.nonempty[name]
            self.bodies[name] = maybe(ir.Rule(nonempty))
            self.bodies[nonempty] = solved[name]
        self._settle_pending()

    def _solve_one(self, name: str, splits: Mapping[str, Split]) -> Bodies:
        """A+ = Y X*.

        In an X that ends with A itself (`expr: expr "+" expr`) that last A may as well be a Y,
        since its own X* continue the outer ones. Without this, a text would be read in as many
        ways as it can be bracketed.
        """
        after, rest = splits[name].after[name][0], splits[name].rest
        last = maybe(rest) if self.nonempty[name] != name else rest
        steps = []
        for way in after.items if isinstance(after, ir.Alt) else (after,):
            items = way.items if isinstance(way, ir.Concat) else (way,)
            ends_with_itself = items[-1] == ir.Rule(name) if items else False
            steps.append(seq(*items[:-1], last) if ends_with_itself else way)
        return {name: seq(rest, times(either(steps), 0, None))}

    def _solve(self, splits: Mapping[str, Split]) -> Bodies:
        """A+ = Y_C (tail C A) | ..., where rules that follow each other for free share a tail."""
        free = {
            name: [to for to in splits if splits[to].after.get(name, _NEVER)[1]] for name in splits
        }
        classes = components(free)
        class_of = {name: each[0] for each in classes for name in each}
        loops = {each[0]: self._loop(each, splits) for each in classes}
        solved: Bodies = {}
        for target in splits:
            for each in classes:
                self._spend(len(splits) * len(each))
                ways = [
                    seq(splits[to].after[name][0], _tail(class_of[to], target))
                    for name in each
                    for to in splits
                    if name in splits[to].after and class_of[to] != each[0]
                ]
                done = ir.EPSILON if target in each else ir.NOTHING
                tail = seq(loops[each[0]], either([done, *ways]))
                self.bodies[_tail(each[0], target).name] = tail
            solved[target] = either(
                seq(split.rest, _tail(class_of[name], target)) for name, split in splits.items()
            )
        return solved

    def _loop(self, names: list[str], splits: Mapping[str, Split]) -> ir.Expr:
        ways = [
            splits[to].after[name][0] for name in names for to in names if name in splits[to].after
        ]
        return times(either(ways), 0, None)

    # ---- splitting

    def _settle_pending(self) -> None:
        """Bodies for the rules whose non-empty part was asked for; they begin with no member."""
        while self.pending:
            name = self.pending.pop()
            body = self._split(self.original[name], frozenset()).rest
            self.bodies[self.nonempty[name]] = body

    def _split(self, root: ir.Expr, members: frozenset[str]) -> Split:
        of: dict[int, Split] = {}
        for node in postorder(root, self._first_parts):
            self._spend(1 + len(members))
            of[id(node)] = self._split_node(node, members, of)
        return of[id(root)]

    def _split_node(self, node: ir.Expr, members: frozenset[str], of: Mapping[int, Split]) -> Split:
        if isinstance(node, ir.Rule):
            if node.name in members:
                return Split({node.name: (ir.EPSILON, True)})
            return Split(rest=ir.Rule(self._nonempty_of(node)))
        if isinstance(node, ir.Literal):
            return Split(rest=node if node.data else ir.NOTHING)
        if isinstance(node, ir.Alt):
            return _union([of[id(item)] for item in node.items])
        if isinstance(node, ir.Concat):
            return self._split_sequence(node.items, of)
        if isinstance(node, ir.Repeat):
            return self._split_repeat(node, of[id(node.item)])
        if isinstance(node, (ir.And, ir.Not)):
            return self._split_boolean(node, members)
        return Split(rest=node)

    def _nonempty_of(self, rule: ir.Rule) -> str:
        name = rule.name
        if not self.values.starts_empty(rule):
            return name
        if name not in self.nonempty:
            self.nonempty[name] = f"%nonempty {name}"
            self.pending.append(name)
        return self.nonempty[name]

    def _split_sequence(self, items: tuple[ir.Expr, ...], of: Mapping[int, Split]) -> Split:
        """The text begins in some item, and those before it are empty."""
        ways = []
        for at, item in enumerate(items):
            self._spend(len(items) - at)
            following = items[at + 1 :]
            can_end = all(map(self.values.starts_empty, following))
            ways.append(_followed(of[id(item)], seq(*following), can_end))
            if not self.values.starts_empty(item):
                break
        return _union(ways)

    def _split_repeat(self, node: ir.Repeat, item: Split) -> Split:
        """The first copy that is not empty comes first."""
        if node.hi == 0:
            return Split()
        is_nullable = self.values.starts_empty(node.item)
        lo = 0 if is_nullable else max(node.lo - 1, 0)
        more = times(node.item, lo, None if node.hi is None else node.hi - 1)
        return _followed(item, more, lo == 0)

    def _split_boolean(self, node: ir.And | ir.Not, members: frozenset[str]) -> Split:
        if not members.isdisjoint(self._first_rules(node)):
            raise UnsupportedConstraint(
                f"rule {self.rewriting} begins with itself inside an intersection",
                keyword=self.rewriting,
            )
        if self.values.starts_empty(node):
            return Split(rest=ir.And((node, ir.Not(ir.EPSILON))))
        return Split(rest=node)


_NEVER: tuple[ir.Expr, bool] = (ir.NOTHING, False)


def _tail(name: str, target: str) -> ir.Rule:
    return ir.Rule(f"%tail {name} {target}")


def _followed(split: Split, following: ir.Expr, can_end: bool) -> Split:
    after = {
        name: (seq(expr, following), is_free and can_end)
        for name, (expr, is_free) in split.after.items()
    }
    return Split(after, seq(split.rest, following))


def _union(splits: list[Split]) -> Split:
    after: dict[str, list[tuple[ir.Expr, bool]]] = {}
    for split in splits:
        for name, way in split.after.items():
            after.setdefault(name, []).append(way)
    return Split(
        {
            name: (either(expr for expr, _ in ways), any(is_free for _, is_free in ways))
            for name, ways in after.items()
            if not all(is_nothing(expr) for expr, _ in ways)
        },
        either(split.rest for split in splits),
    )
