"""Which branches of a program may be submitted to, as the client's end of a session knows it."""

from __future__ import annotations

from collections.abc import Sequence

from sestina.lang import ir
from sestina.lang.errors import InvalidParams
from sestina.lang.session import ROOT


class KnownBranches:
    """The root, and those that a Fork announced."""

    def __init__(self) -> None:
        self._known = {ROOT}

    def check(self, branch: str, ops: Sequence[ir.Op]) -> set[str]:
        """The branches that these ops announce. InvalidParams if `branch` is not known, or one of
        them exists already."""
        if branch not in self._known:
            raise InvalidParams(f"no branch {branch!r}: no Fork announced it")
        children: set[str] = set()
        for child in (child for op in ops if isinstance(op, ir.Fork) for child in op.children):
            if child in self._known or child in children:
                raise InvalidParams(f"branch {child!r} exists already")
            children.add(child)
        return children

    def add(self, children: set[str]) -> None:
        self._known |= children
