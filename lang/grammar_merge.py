"""Several grammars as one: rules renamed where names clash, and what their rules are like."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sestina.lang.grammar_check import name_on_cycle
from sestina.lang.grammar_ir import (
    Expr,
    Grammar,
    Literal,
    Permute,
    Repeat,
    Rule,
    Special,
    parts,
    with_parts,
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
                below = parts(node)
                missing = [part for part in below if id(part) not in known]
                if missing:
                    stack += missing
                    continue
                known[id(node)] = self._once(node, names, [known[id(part)] for part in below])
            stack.pop()
        return known[id(root)]

    def _once(self, node: Expr, names: Mapping[str, str], below: list[Expr]) -> Expr:
        key: Hashable
        if below:
            key = (type(node), _own(node), *map(id, below))
        elif isinstance(node, Rule):
            key = node = Rule(names.get(node.name, node.name))
        else:
            key = node.data if isinstance(node, Literal) else node
        found = self._nodes.get(key)
        if found is None:
            is_same = all(new is old for new, old in zip(below, parts(node), strict=True))
            found = self._nodes[key] = node if is_same else with_parts(node, below)
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
    return Facts(name_on_cycle(mentions), special)


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
        stack.extend(parts(node))
    return rules, special


def _own(node: Expr) -> Hashable:
    """What a node says beside its parts."""
    if isinstance(node, Repeat):
        return node.lo, node.hi
    if isinstance(node, Permute):
        return node.lo, node.hi, *((part.required, part.repeats) for part in node.parts)
    return None
