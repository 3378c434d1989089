"""The expressions of IR nodes that a machine has met before."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from sestina.lang import grammar_ir as ir

_HEIGHT_BITS = 32


class KnownNodes:
    """Nodes without rules by their identity, and rules that mention no others by their name and the
    identity of their body; see `sestina.backend.grammar.build`.

    What only one grammar had is forgotten when the next one does not have it. There is no object
    for each node: a large grammar has thousands, which the garbage collector would go through.

    nodes: held so that their identity stays their own. once: the keys of those met in one grammar.
    """

    def __init__(self) -> None:
        self.nodes: dict[Hashable, ir.Expr] = {}
        self.once: set[Hashable] = set()
        self._built: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, key: Hashable) -> bool:
        return key in self.nodes

    def find(self, key: Hashable) -> tuple[int, int] | None:
        """The expression, and the height of the tree that made it; it is met again thereby."""
        built = self._built.get(key)
        if built is None:
            return None
        self.once.discard(key)
        return built >> _HEIGHT_BITS, built & ((1 << _HEIGHT_BITS) - 1)

    def add(self, key: Hashable, node: ir.Expr, expr: int, height: int) -> None:
        self.nodes[key] = node
        self._built[key] = expr << _HEIGHT_BITS | height

    def next_grammar(self, before: Iterable[Hashable], fresh: set[Hashable]) -> None:
        """Forget what of the grammar before was not met again; `fresh` came with the new one."""
        for key in before:
            del self.nodes[key], self._built[key]
        self.once = fresh
