"""Facts about a grammar's rules that must be known before its expressions are built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sestina.backend.grammar.limits import Limits
from sestina.lang import grammar_ir as ir
from sestina.lang.errors import InvalidConstraint, UnsupportedConstraint

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


def post_order(root: ir.Expr, limits: Limits) -> list[ir.Expr]:
    """Every distinct node (by identity) under `root`, parts first; checks size and height."""
    height: dict[int, int] = {}
    order: list[ir.Expr] = []
    stack = [root]
    while stack:
        node = stack[-1]
        if id(node) not in height:
            parts = children(node)
            missing = [part for part in parts if id(part) not in height]
            if missing:
                stack.extend(missing)
                if len(stack) > limits.max_nodes:
                    raise limits.exceeded("max_nodes")
                continue
            height[id(node)] = 1 + max((height[id(part)] for part in parts), default=0)
            order.append(node)
            if height[id(node)] > limits.max_nesting:
                raise limits.exceeded("max_nesting")
            if len(order) > limits.max_nodes:
                raise limits.exceeded("max_nodes")
        stack.pop()
    return order


@dataclass(frozen=True, slots=True)
class Bodies:
    """What the start expression can reach. Rules are keyed by name, the start by None.

    nodes: post-order of each body. mentions: the rules each body refers to.
    """

    nodes: dict[str | None, list[ir.Expr]]
    mentions: dict[str | None, frozenset[str]]


def reach(grammar: ir.Grammar, limits: Limits) -> Bodies:
    """Collect the bodies reachable from the start. InvalidConstraint for an undefined rule."""
    nodes: dict[str | None, list[ir.Expr]] = {}
    mentions: dict[str | None, frozenset[str]] = {}
    todo: list[str | None] = [None]
    total = 0
    while todo:
        name = todo.pop()
        if name in nodes:
            continue
        body = grammar.start if name is None else grammar.rules[name]
        nodes[name] = post_order(body, limits)
        total += len(nodes[name])
        if total > limits.max_nodes:
            raise limits.exceeded("max_nodes")
        mentions[name] = frozenset(n.name for n in nodes[name] if type(n) is ir.Rule)
        for other in mentions[name]:
            if other not in grammar.rules:
                raise InvalidConstraint(f"rule {other!r} is used but not defined", keyword=other)
        todo += mentions[name]
    return Bodies(nodes, mentions)


def recursive_rules(bodies: Bodies) -> frozenset[str]:
    """Rules whose expansion never ends: those on a cycle of references, or that lead to one."""
    users: dict[str, list[str | None]] = {}
    open_mentions: dict[str | None, int] = {}
    for user, mentioned in bodies.mentions.items():
        open_mentions[user] = len(mentioned)
        for name in mentioned:
            users.setdefault(name, []).append(user)
    done = [name for name, count in open_mentions.items() if count == 0]
    for finished in done:  # grows while it is walked (Kahn 1962)
        for user in users.get(finished, ()) if finished is not None else ():
            open_mentions[user] -= 1
            if open_mentions[user] == 0:
                done.append(user)
    finite = set(done)
    return frozenset(name for name in bodies.mentions if name is not None and name not in finite)


def fixpoint(bodies: Bodies, leaf: Callable[[ir.Expr], int | None]) -> dict[str, int]:
    """NO_TEXT, SOME_TEXT or EMPTY_TEXT for each reachable rule, as the least fixed point.

    With these three numbers a sequence is the minimum of its parts and an alternation the maximum.
    `leaf` decides the nodes it knows (it must know `And` and `Not`) and returns None for the rest.
    """
    users: dict[str, list[str]] = {}
    for user, mentioned in bodies.mentions.items():
        if user is not None:
            for name in mentioned:
                users.setdefault(name, []).append(user)
    values = {name: NO_TEXT for name in bodies.mentions if name is not None}
    todo = list(values)
    while todo:
        name = todo.pop()
        nodes = bodies.nodes[name]
        value = node_values(nodes, values, leaf)[id(nodes[-1])]
        if value > values[name]:
            values[name] = value
            todo += users.get(name, ())
    return values


def node_values(
    nodes: Iterable[ir.Expr], rules: Mapping[str, int], leaf: Callable[[ir.Expr], int | None]
) -> dict[int, int]:
    """The value of each node of a post-order, by identity, given those of the rules."""
    of: dict[int, int] = {}
    for node in nodes:
        known = leaf(node)
        if known is not None:
            of[id(node)] = known
        elif type(node) is ir.Rule:
            of[id(node)] = rules[node.name]
        elif type(node) is ir.Repeat:
            of[id(node)] = EMPTY_TEXT if node.lo == 0 else of[id(node.item)]
        elif type(node) is ir.Concat:
            of[id(node)] = min((of[id(part)] for part in node.items), default=EMPTY_TEXT)
        else:
            of[id(node)] = max((of[id(part)] for part in children(node)), default=NO_TEXT)
    return of


def refuse_left_recursion(bodies: Bodies, starts_empty: Callable[[ir.Expr], bool]) -> None:
    """UnsupportedConstraint if a rule can come back to itself before it has matched a byte.

    `starts_empty(node)` tells whether a node can match the empty text.
    """
    edges = {
        name: sorted(_leftmost(nodes[-1], starts_empty))
        for name, nodes in bodies.nodes.items()
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


def _leftmost(body: ir.Expr, starts_empty: Callable[[ir.Expr], bool]) -> set[str]:
    """Rules that may be entered at the very start of a body."""
    out: set[str] = set()
    seen: set[int] = set()
    stack = [body]
    while stack:
        node = stack.pop()
        if id(node) in seen or type(node) in (ir.And, ir.Not):
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
