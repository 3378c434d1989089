"""Several grammars as one: rules renamed where names clash, and what their rules are like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    A grammar keeps its names as long as none of them stands for something else already; else all
    its rules get a number. The same grammar object again is the same rules. Nodes without rules
    stay the objects they were, since compilers remember them by identity.
    """

    def __init__(self) -> None:
        self.rules: dict[str, Expr] = {}
        self._starts: dict[int, tuple[Grammar, Expr]] = {}
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
        if self.rules.keys().isdisjoint(grammar.rules):
            self.rules.update(grammar.rules)
            return grammar.start
        names = self._fresh(grammar)
        known: dict[int, Expr] = {}
        for name, body in grammar.rules.items():
            self.rules[names[name]] = _renamed(body, names, known)
        return _renamed(grammar.start, names, known)

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
    special: str | None = None
    seen: set[int] = set()
    found, special = _mentions(grammar.start, seen)
    todo = list(found)
    while todo:
        name = todo.pop()
        if name in mentions:
            continue
        mentions[name], inside = _mentions(grammar.rules[name], set())
        special = special or inside
        todo += mentions[name]
    return Facts(_endless(mentions), special)


def _mentions(root: Expr, seen: set[int]) -> tuple[set[str], str | None]:
    """The rules and a control token that an expression names."""
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


def _renamed(root: Expr, names: Mapping[str, str], known: dict[int, Expr]) -> Expr:
    """The expression with its rules renamed; `known` has what was done before, by identity."""
    stack = [root]
    while stack:
        node = stack[-1]
        if id(node) not in known:
            parts = _parts(node)
            missing = [part for part in parts if id(part) not in known]
            if missing:
                stack += missing
                continue
            known[id(node)] = _rebuilt(node, names, tuple(known[id(part)] for part in parts))
        stack.pop()
    return known[id(root)]


def _rebuilt(node: Expr, names: Mapping[str, str], parts: tuple[Expr, ...]) -> Expr:
    if isinstance(node, Rule):
        return Rule(names[node.name])
    if all(new is old for new, old in zip(parts, _parts(node), strict=True)):
        return node
    if isinstance(node, Repeat):
        return Repeat(parts[0], node.lo, node.hi)
    if isinstance(node, Not):
        return Not(parts[0])
    assert isinstance(node, (Concat, Alt, And))
    return type(node)(parts)


def _parts(node: Expr) -> tuple[Expr, ...]:
    if isinstance(node, (Concat, Alt, And)):
        return node.items
    if isinstance(node, (Repeat, Not)):
        return (node.item,)
    if isinstance(node, (Literal, ByteSet, Rule, Special)):
        return ()
    # A node unknown here could hide rules that clash.
    raise InternalError(f"{type(node).__name__} is not a node of a grammar")
