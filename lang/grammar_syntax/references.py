"""Walking and rewriting constraint IR by its rule references. Nothing here recurses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from sestina.lang import grammar_ir as ir
from sestina.lang.expr import either, seq, times

Bodies = dict[str, ir.Expr]


def postorder(
    root: ir.Expr, parts_of: Callable[[ir.Expr], tuple[ir.Expr, ...]] = ir.parts
) -> list[ir.Expr]:
    """Every node that `parts_of` leads to, once (by identity), parts first."""
    order: list[ir.Expr] = []
    done: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, parts_done = stack.pop()
        if id(node) in done:
            continue
        parts = () if parts_done else parts_of(node)
        if parts:
            stack.append((node, True))
            stack += [(part, False) for part in reversed(parts) if id(part) not in done]
            continue
        done.add(id(node))
        order.append(node)
    return order


def mentions(root: ir.Expr) -> list[str]:
    """The names of the rules that an expression refers to, once each, in the order of the text."""
    return list(dict.fromkeys(n.name for n in postorder(root) if isinstance(n, ir.Rule)))


def rebuilt(node: ir.Expr, parts: tuple[ir.Expr, ...]) -> ir.Expr:
    """The node over other parts, as the smart constructors make it."""
    if isinstance(node, ir.Concat):
        return seq(*parts)
    if isinstance(node, ir.Alt):
        return either(parts)
    if isinstance(node, ir.Repeat):
        return times(parts[0], node.lo, node.hi)
    return ir.with_parts(node, parts)


def substitute(root: ir.Expr, replace: Callable[[str], ir.Expr | None]) -> ir.Expr:
    """The expression with rule references replaced; None leaves one. Shared parts stay shared."""
    made: dict[int, ir.Expr] = {}
    for node in postorder(root):
        new: ir.Expr | None = None
        if isinstance(node, ir.Rule):
            new = replace(node.name)
        elif parts := ir.parts(node):
            others = tuple(made[id(part)] for part in parts)
            if any(a is not b for a, b in zip(parts, others, strict=True)):
                new = rebuilt(node, others)
        made[id(node)] = node if new is None else new
    return made[id(root)]


def renamed(root: ir.Expr, prefix: str) -> ir.Expr:
    """The expression with a prefix before the name of every rule."""
    return substitute(root, lambda name: ir.Rule(prefix + name))


def acyclic_order(bodies: Mapping[str, Collection[str]]) -> list[str]:
    """Names, each after all that it mentions, without those on or above a cycle (Kahn 1962)."""
    users: dict[str, list[str]] = {}
    waiting = {}
    for name, others in bodies.items():
        waiting[name] = len(others)
        for other in others:
            users.setdefault(other, []).append(name)
    order = [name for name, num in waiting.items() if num == 0]
    for done in order:  # grows while it is walked
        for user in users.get(done, ()):
            waiting[user] -= 1
            if waiting[user] == 0:
                order.append(user)
    return order


def unrolled_size(root: ir.Expr) -> int:
    """The number of nodes if every shared part were copied; a long literal counts as several."""
    size: dict[int, int] = {}
    for node in postorder(root):
        own = 1 + len(node.data) // 16 if isinstance(node, ir.Literal) else 1
        size[id(node)] = own + sum(size[id(part)] for part in ir.parts(node))
    return size[id(root)]


def reachable(start: ir.Expr, bodies: Mapping[str, ir.Expr]) -> list[str]:
    """The rules that the start leads to, in the order in which they are met."""
    found = dict.fromkeys(mentions(start))
    todo = list(found)
    for name in todo:  # grows while it is walked
        for other in mentions(bodies[name]):
            if other not in found:
                found[other] = None
                todo.append(other)
    return todo


def inline_small(bodies: Mapping[str, ir.Expr], max_size: int, max_total: int) -> Bodies:
    """Bodies in which references to small definitions without rules are replaced by their bodies.

    Such parts are regular, which a runtime treats best in one piece. A definition of more than
    `max_size` nodes stays a rule, as does everything once `max_total` nodes were written out, so
    doubling chains (`a: b b`, `b: c c`, ...) cost what they are, not what they stand for.
    """
    small: dict[str, tuple[ir.Expr, int]] = {}
    left = max_total

    def replace(name: str) -> ir.Expr | None:
        nonlocal left
        body, size = small.get(name, (None, 0))
        if size > left:
            return None
        left -= size
        return body

    out = dict(bodies)
    order = acyclic_order({name: mentions(body) for name, body in bodies.items()})
    for name in order:
        out[name] = body = substitute(out[name], replace)
        if not mentions(body) and (size := unrolled_size(body)) <= max_size:
            small[name] = (body, size)
    for name in bodies.keys() - set(order):
        out[name] = substitute(out[name], replace)
    return out
