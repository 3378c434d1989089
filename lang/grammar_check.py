"""Questions about a constraint IR that are answered before any automaton is built."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

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


def is_productive(grammar: Grammar) -> bool:
    """Whether some text is derivable, taking every And and Not to match something.

    Of a Permute the parts that are required count, its bounds do not.

    The least fixpoint over rules (Hopcroft and Ullman 1979, lemma 4.1). Cost: one pass over the
    nodes not yet known to derive a text per round, at most one round more than the longest chain
    of rules.
    """
    waiting = dict(grammar.rules)
    deriving = _Deriving()
    while True:
        found = [name for name, body in waiting.items() if deriving.finds(body)]
        if not found:
            return deriving.finds(grammar.start)
        for name in found:
            del waiting[name]
        deriving.begin_round(found)


def left_recursion(grammar: Grammar) -> str | None:
    """The name of a rule that can begin with itself, or None.

    Only the first item of a sequence is followed, which is exact where no rule matches the empty
    text, as with JSON values.
    """
    return name_on_cycle({name: set(_first_rules(body)) for name, body in grammar.rules.items()})


def name_on_cycle(mentions: Mapping[str, Collection[str]]) -> str | None:
    """A name that leads back to itself, or None: what a depth first walk meets on its own path."""
    done: set[str] = set()
    for root in mentions:
        path: dict[str, Iterator[str]] = {} if root in done else {root: iter(mentions[root])}
        while path:
            name, pending = next(reversed(path.items()))
            following = next(pending, None)
            if following is None:
                done.add(name)
                del path[name]
            elif following in path:
                return following
            elif following not in done:
                path[following] = iter(mentions.get(following, ()))
    return None


class _Deriving:
    """Which nodes derive a text, given the rules that do. A node that does stays known."""

    def __init__(self) -> None:
        self.rules: set[str] = set()
        self.yes: set[int] = set()  # by identity: the grammar keeps them alive
        self.no: set[int] = set()  # as far as is known in this round

    def begin_round(self, more_rules: Iterable[str]) -> None:
        self.rules.update(more_rules)
        self.no.clear()

    def finds(self, root: Expr) -> bool:
        """Whether `root` derives a text. No node is looked at twice, nor more than is needed."""
        stack: list[tuple[Expr, Iterator[Expr]]] = []
        value = self.known(root)  # of what was last finished; None for what was just begun
        if value is None:
            stack.append((root, _parts(root)))
        while stack:
            node, parts = stack[-1]
            decisive = isinstance(node, Alt)  # one part like this, and the others do not matter
            while value is not decisive:
                part = next(parts, None)
                value = not decisive if part is None else self.known(part)
                if part is None:
                    break
                if value is None:
                    stack.append((part, _parts(part)))
                    break
            if value is not None:
                (self.yes if value else self.no).add(id(node))
                stack.pop()
        return bool(value)

    def known(self, node: Expr) -> bool | None:
        if isinstance(node, _LEAVES):
            return True
        if isinstance(node, Rule):
            return node.name in self.rules
        if id(node) in self.yes:
            return True
        return False if id(node) in self.no else None


_LEAVES = (Literal, ByteSet, And, Not, Special)


def _parts(node: Expr) -> Iterator[Expr]:
    """The parts that must derive a text, or of Alt one of them."""
    if isinstance(node, (Concat, Alt)):
        return iter(node.items)
    if isinstance(node, Permute):
        return (part.item for part in node.parts if part.required)
    return iter((node.item,) if isinstance(node, Repeat) and node.lo else ())


def _first_rules(root: Expr) -> Iterator[str]:
    """The rules that a text of this node can begin with."""
    stack, seen = [root], set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Rule):
            yield node.name
        elif isinstance(node, Concat):
            stack += node.items[:1]
        elif isinstance(node, (Alt, And)):
            stack += node.items
        elif isinstance(node, Permute):
            stack += [part.item for part in node.parts]
        elif isinstance(node, (Repeat, Not)):
            stack.append(node.item)
