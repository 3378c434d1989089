"""Facts about a grammar's rules that must be known before its expressions are built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import UnsupportedConstraint

NO_TEXT, SOME_TEXT, EMPTY_TEXT = 0, 1, 2
"""A language matches nothing, something, or (also) the empty text; see `fixpoint`."""

_CHILDREN: dict[type, Callable[..., tuple[ir.Expr, ...]]] = {
    ir.Concat: lambda node: node.items,
    ir.Alt: lambda node: node.items,
    ir.And: lambda node: node.items,
    ir.Repeat: lambda node: (node.item,),
    ir.Not: lambda node: (node.item,),
}


def children(node: ir.Expr) -> tuple[ir.Expr, ...]:
    """The direct parts of a node; a rule reference has none."""
    of = _CHILDREN.get(type(node))
    return () if of is None else of(node)


class Body(NamedTuple):
    """The start expression or a rule. open: its nodes with rules in them, parts first (none if the
    root has none). mentions: the rules it refers to."""

    root: ir.Expr
    open: list[ir.Expr]
    mentions: frozenset[str]


Bodies = dict[str | None, Body]
"""What the start expression can reach, by the rule's name; the start is None."""


def rule_order(bodies: Bodies) -> tuple[list[str], frozenset[str]]:
    """An order in which a rule mentions only itself and earlier ones, as far as there is one.

    Besides: the rules whose expansion never ends (on a cycle of references, or leading to one).
    """
    users: dict[str, list[str]] = {}
    open_mentions: dict[str, int] = {}
    for user, body in bodies.items():
        if user is None:
            continue
        others = body.mentions - {user}
        open_mentions[user] = len(others)
        for name in others:
            users.setdefault(name, []).append(user)
    order = [name for name, count in open_mentions.items() if count == 0]
    endless = {name for name in open_mentions if name in bodies[name].mentions}
    for finished in order:  # grows while it is walked (Kahn 1962)
        if bodies[finished].mentions & endless:
            endless.add(finished)
        for user in users.get(finished, ()):
            open_mentions[user] -= 1
            if open_mentions[user] == 0:
                order.append(user)
    endless.update(open_mentions.keys() - set(order))
    return order, frozenset(endless)


def fixpoint(bodies: Bodies, leaf: Callable[[ir.Expr], int | None]) -> dict[str, int]:
    """NO_TEXT, SOME_TEXT or EMPTY_TEXT for each reachable rule, as the least fixed point.

    With these three numbers a sequence is the minimum of its parts and an alternation the maximum.
    `leaf` decides the nodes it knows (without rules, `And` and `Not`) and returns None for others.
    """
    users: dict[str, list[str]] = {}
    for user, body in bodies.items():
        if user is not None:
            for name in body.mentions:
                users.setdefault(name, []).append(user)
    values = {name: NO_TEXT for name in bodies if name is not None}
    todo = list(values)
    while todo:
        name = todo.pop()
        root, nodes, _ = bodies[name]
        known = leaf(root)
        value = node_values(nodes, values, leaf)[id(root)] if known is None else known
        if value > values[name]:
            values[name] = value
            todo += users.get(name, ())
    return values


def node_values(
    nodes: Iterable[ir.Expr], rules: Mapping[str, int], leaf: Callable[[ir.Expr], int | None]
) -> dict[int, int]:
    """The value of each node of a post-order and of their parts, by identity, given the rules'."""
    of: dict[int, int] = {}
    for node in nodes:
        known = leaf(node)
        if known is not None:
            of[id(node)] = known
            continue
        if type(node) is ir.Rule:
            of[id(node)] = rules[node.name]
            continue
        parts = children(node)
        for part in parts:
            if id(part) not in of:
                value = leaf(part)
                assert value is not None  # parts with rules come first
                of[id(part)] = value
        if type(node) is ir.Repeat:
            of[id(node)] = EMPTY_TEXT if node.lo == 0 else of[id(node.item)]
        elif type(node) is ir.Concat:
            of[id(node)] = min((of[id(part)] for part in parts), default=EMPTY_TEXT)
        else:
            of[id(node)] = max((of[id(part)] for part in parts), default=NO_TEXT)
    return of


def refuse_left_recursion(
    bodies: Bodies,
    starts_empty: Callable[[ir.Expr], bool],
    is_closed: Callable[[ir.Expr], bool],
) -> None:
    """UnsupportedConstraint if a rule can come back to itself before it has matched a byte.

    `starts_empty(node)` tells whether a node can match the empty text, `is_closed` whether it has
    no rules in it.
    """
    edges = {
        name: sorted(_leftmost(body.root, starts_empty, is_closed))
        for name, body in bodies.items()
        if name is not None
    }
    finished: set[str] = set()
    for root in edges:
        path: dict[str, int] = {}  # rules being walked, and how many of their edges were
        stack = [root]
        while stack:
            name = stack[-1]
            step = path.setdefault(name, 0)
            if name in finished or step == len(edges[name]):
                finished.add(name)
                path.pop(name, None)
                stack.pop()
                continue
            path[name] += 1
            following = edges[name][step]
            if following in path:
                names = [*stack[stack.index(following) :], following]
                raise UnsupportedConstraint(
                    f"left-recursive rule: {' -> '.join(names)}; rewrite it as a repetition",
                    keyword=following,
                )
            if following not in finished:
                stack.append(following)


def _leftmost(
    body: ir.Expr,
    starts_empty: Callable[[ir.Expr], bool],
    is_closed: Callable[[ir.Expr], bool],
) -> set[str]:
    """Rules that may be entered at the very start of a body."""
    out: set[str] = set()
    seen: set[int] = set()
    stack = [body]
    while stack:
        node = stack.pop()
        if id(node) in seen or type(node) in (ir.And, ir.Not) or is_closed(node):
            continue
        seen.add(id(node))
        if type(node) is ir.Rule:
            out.add(node.name)
        elif type(node) is ir.Concat:
            for item in node.items:
                stack.append(item)
                if not starts_empty(item):
                    break
        else:
            stack.extend(children(node))
    return out
