"""The expressions of IR nodes that a machine has met before."""

from __future__ import annotations

from collections.abc import Hashable

from sestina.lang import grammar_ir as ir

_HEIGHT_BITS = 32


class Nodes:
    """Nodes without rules by their identity, and rules that mention no others by their name and the
    identity of their body; see `sestina.backend.grammar.build`.

    There is no object for each node: a large grammar has thousands, which the garbage collector
    would go through.
    """

    __slots__ = ("_built", "_held")

    def __init__(self) -> None:
        self._held: dict[Hashable, ir.Expr] = {}  # so that their identity stays their own
        self._built: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def add(self, key: Hashable, node: ir.Expr, expr: int, height: int) -> None:
        """Keep the expression of a node, and the height of the tree that made it."""
        self._held[key] = node
        self._built[key] = expr << _HEIGHT_BITS | height

    def find(self, key: Hashable) -> tuple[int, int] | None:
        """The expression and the height."""
        built = self._built.get(key)
        return None if built is None else (built >> _HEIGHT_BITS, built & _HEIGHT)

    def move(self, key: Hashable, other: Nodes) -> None:
        """Add what is here to others."""
        other._held[key] = self._held[key]
        other._built[key] = self._built[key]


_HEIGHT = (1 << _HEIGHT_BITS) - 1


class KnownNodes:
    """What several grammars had in common, and what the last one had for the first time.

    Of the latter, what the next grammar has as well will last; the rest is forgotten with it.
    """

    def __init__(self) -> None:
        self._lasting = Nodes()
        self._recent = Nodes()

    def __len__(self) -> int:
        return len(self._lasting) + len(self._recent)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._lasting or key in self._recent

    def find(self, key: Hashable) -> tuple[int, int] | None:
        """The expression, and the height of the tree that made it; it is met again thereby."""
        found = self._lasting.find(key)
        if found is None:
            found = self._recent.find(key)
            if found is not None:
                self._recent.move(key, self._lasting)
        return found

    def next_grammar(self, fresh: Nodes) -> None:
        """A grammar was built, and these came with it."""
        self._recent = fresh
