"""Several grammars as one: rules renamed where names clash, and what their rules are like."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from sestina.lang.errors import InternalError
from sestina.lang.grammar_ir import (
    Alt,
    And,
    ByteSet,
    Concat,
    Expr,
    Grammar,
    Literal,
    Not,
    Permute,
    Repeat,
    Rule,
    Special,
)


class Facts(NamedTuple):
    """What stands in the way of `And` and `Not`; see `facts`."""

    recursive: str | None
    special: str | None


class Merger:
    """Takes the rules of grammars in, one grammar after the other, under names of its own.

    Equal nodes become one object, so that what grammars have in common is there once, whatever it
    came from; the first one met stays the object it was. A grammar keeps the names of its rules
    unless one of them stands for something else already; then all its rules get a number.
    """

    def __init__(self) -> None:
        self.rules: dict[str, Expr] = {}
        self._starts: dict[int, tuple[Grammar, Expr]] = {}
        self._nodes: dict[Hashable, Expr] = {}
        self._number = 0

    def start(self, grammar: Grammar) -> Expr:
        """The start expression of a grammar, its rules taken in. Linear in its nodes."""
        if id(grammar) not in self._starts:
            self._starts[id(grammar)] = (grammar, self._take(grammar))
        return self._starts[id(grammar)][1]

    def grammar(self, start: Expr) -> Grammar:
        """What `start` matches with the rules taken in."""
        return Grammar(start, MappingProxyType(self.rules))

    def _take(self, grammar: Grammar) -> Expr:
        start, rules = self._shared(grammar, {name: name for name in grammar.rules})
        if any(self.rules.get(name, body) is not body for name, body in rules.items()):
            start, rules = self._shared(grammar, self._fresh(grammar))
        self.rules.update(rules)
        return start

    def _shared(self, grammar: Grammar, names: Mapping[str, str]) -> tuple[Expr, dict[str, Expr]]:
        """Start and rules with other names, of nodes that are there once."""
        known: dict[int, Expr] = {}
        rules = {
            names[name]: self._node(body, names, known) for name, body in grammar.rules.items()
        }
        return self._node(grammar.start, names, known), rules

    def _node(self, root: Expr, names: Mapping[str, str], known: dict[int, Expr]) -> Expr:
        """The one node for an expression; `known` has what was met before, by identity."""
        stack = [root]
        while stack:
            node = stack[-1]
            if id(node) not in known:
                parts = _parts(node)
                missing = [part for part in parts if id(part) not in known]
                if missing:
                    stack += missing
                    continue
                known[id(node)] = self._once(node, names, [known[id(part)] for part in parts])
            stack.pop()
        return known[id(root)]

    def _once(self, node: Expr, names: Mapping[str, str], parts: list[Expr]) -> Expr:
        key: Hashable
        if parts:
            key = (type(node), _own(node), *map(id, parts))
        elif isinstance(node, Rule):
            key = node = Rule(names.get(node.name, node.name))
        else:
            key = node.data if isinstance(node, Literal) else node
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = _with_parts(node, parts)
        return found

    def _fresh(self, grammar: Grammar) -> dict[str, str]:
        while True:
            self._number += 1
            names = {name: f"{name}#{self._number}" for name in grammar.rules}
            if self.rules.keys().isdisjoint(names.values()):
                return names


def facts(grammar: Grammar) -> Facts:
    """A rule that the start reaches and that never ends expanding, and a control token in it.

    None where there is no such thing. Linear in the nodes of the grammar.
    """
    mentions: dict[str, set[str]] = {}
    reached, special = _mentions(grammar.start)
    todo = list(reached)
    while todo:
        name = todo.pop()
        if name not in mentions:
            mentions[name], inside = _mentions(grammar.rules[name])
            special = special or inside
            todo += mentions[name]
    return Facts(_endless(mentions), special)


def _mentions(root: Expr) -> tuple[set[str], str | None]:
    """The rules and a control token that an expression names."""
    seen: set[int] = set()
    rules: set[str] = set()
    special = None
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Rule):
            rules.add(node.name)
        elif isinstance(node, Special):
            special = node.token
        stack.extend(_parts(node))
    return rules, special


def _endless(mentions: Mapping[str, set[str]]) -> str | None:
    """A rule on a cycle of references: what a depth first walk meets on its own path."""
    done: set[str] = set()
    for root in mentions:
        path: dict[str, Iterator[str]] = {root: iter(mentions[root])} if root not in done else {}
        while path:
            name, pending = next(reversed(path.items()))
            following = next(pending, None)
            if following is None:
                done.add(name)
                del path[name]
            elif following in path:
                return following
            elif following not in done:
                path[following] = iter(mentions[following])
    return None


def _own(node: Expr) -> Hashable:
    """What a node says beside its parts."""
    if isinstance(node, Repeat):
        return node.lo, node.hi
    if isinstance(node, Permute):
        return node.lo, node.hi, *((part.required, part.repeats) for part in node.parts)
    return None


def _with_parts(node: Expr, parts: list[Expr]) -> Expr:
    if all(new is old for new, old in zip(parts, _parts(node), strict=True)):
        return node
    if isinstance(node, Repeat):
        return Repeat(parts[0], node.lo, node.hi)
    if isinstance(node, Not):
        return Not(parts[0])
    if isinstance(node, Permute):
        separator, *items = parts
        members = [replace(p, item=item) for p, item in zip(node.parts, items, strict=True)]
        return replace(node, separator=separator, parts=tuple(members))
    assert isinstance(node, (Concat, Alt, And))
    return type(node)(tuple(parts))


def _parts(node: Expr) -> tuple[Expr, ...]:
    if isinstance(node, (Concat, Alt, And)):
        return node.items
    if isinstance(node, (Repeat, Not)):
        return (node.item,)
    if isinstance(node, Permute):
        return (node.separator, *(part.item for part in node.parts))
    if isinstance(node, (Literal, ByteSet, Rule, Special)):
        return ()
    # A node unknown here could hide rules that clash.
    raise InternalError(f"{type(node).__name__} is not a node of a grammar")
