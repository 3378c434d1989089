"""How a terminal begins, and how its texts can go on: bytes that longest matches look at.

The position automaton of a regular expression (Glushkov 1961) has a state for each byte set in it.
Where no two states that may come next share a byte it is deterministic, so what can follow a text
is what may come after its last position (Brüggemann-Klein and Wood 1998).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from sestina.lang import grammar_ir as ir
from sestina.lang.grammar_syntax.references import postorder

MAX_POSITIONS = 2_000

EVERY_BYTE = (1 << 256) - 1


class _Part(NamedTuple):
    first: tuple[int, ...]
    last: tuple[int, ...]
    is_nullable: bool


def first_bytes(
    root: ir.Expr, starts_empty: Callable[[ir.Expr], bool], body_of: Callable[[str], ir.Expr]
) -> int:
    """A mask of bytes around those that texts begin with; an intersection counts as its first."""
    out = 0
    entered: set[str] = set()
    todo = [root]
    for start in todo:  # grows while it is walked
        for node in postorder(start, lambda node: _first_parts(node, starts_empty)):
            if isinstance(node, ir.ByteSet):
                out |= node.mask
            elif isinstance(node, ir.Literal) and node.data:
                out |= 1 << node.data[0]
            elif isinstance(node, ir.Not):
                return EVERY_BYTE
            elif isinstance(node, ir.Rule) and node.name not in entered:
                entered.add(node.name)
                todo.append(body_of(node.name))
    return out


def _first_parts(node: ir.Expr, starts_empty: Callable[[ir.Expr], bool]) -> tuple[ir.Expr, ...]:
    if isinstance(node, ir.And):
        return node.items[:1]
    if isinstance(node, ir.Not) or not isinstance(node, ir.Concat):
        return () if isinstance(node, ir.Not) else ir.parts(node)
    for at, item in enumerate(node.items):
        if not starts_empty(item):
            return node.items[: at + 1]
    return node.items


def extension(root: ir.Expr) -> int | None:
    """A mask of the bytes with which a text of the terminal goes on to a longer one.

    None where that is not the same for all of its texts or cannot be told: the expression is not
    deterministic in the sense above, has an intersection or complement, or more than MAX_POSITIONS
    positions.
    """
    automaton = _Positions()
    part = automaton.read(root)
    if part is None or not automaton.is_deterministic(part.first):
        return None
    after = {automaton.bytes_after(last) for last in part.last}
    return after.pop() if len(after) == 1 else None


class _Positions:
    """masks: the bytes of each position; follow: the positions that may come after it."""

    def __init__(self) -> None:
        self.masks: list[int] = []
        self.follow: list[set[int]] = []

    def read(self, root: ir.Expr) -> _Part | None:
        """The whole expression, without recursion. A counted repetition is written out."""
        stack: list[tuple[str, object]] = [("read", root)]
        done: list[_Part] = []
        while stack:
            step, what = stack.pop()
            if step == "join":
                assert isinstance(what, tuple)
                num_parts, kind = what
                parts = done[len(done) - num_parts :]
                del done[len(done) - num_parts :]
                done.append(self._join(kind, parts))
                continue
            steps = self._steps(what)
            if steps is None or len(self.masks) + len(stack) > MAX_POSITIONS:
                return None
            if isinstance(steps, _Part):
                done.append(steps)
            else:
                stack += steps
        return done[0]

    def _steps(self, node: object) -> _Part | list[tuple[str, object]] | None:
        if isinstance(node, ir.ByteSet):
            return self._string([node.mask])
        if isinstance(node, ir.Literal):
            return self._string([1 << byte for byte in node.data])
        if isinstance(node, (ir.Concat, ir.Alt)):
            kind = "sequence" if isinstance(node, ir.Concat) else "choice"
            reads = [("read", item) for item in reversed(node.items)]
            return [("join", (len(node.items), kind)), *reads]
        if not isinstance(node, ir.Repeat) or max(node.lo, node.hi or 0) > MAX_POSITIONS:
            return None
        copies: list[str] = ["once"] * node.lo
        if node.hi is not None:
            copies += ["maybe"] * (node.hi - node.lo)
        elif copies:
            copies[-1] = "plus"
        else:
            copies = ["star"]
        steps: list[tuple[str, object]] = [("join", (len(copies), "sequence"))]
        for kind in reversed(copies):
            steps += [("join", (1, kind)), ("read", node.item)]
        return steps

    def _string(self, masks: list[int]) -> _Part:
        at = len(self.masks)
        self.masks += masks
        self.follow += [{at + i + 1} for i in range(len(masks))]
        if not masks:
            return _Part((), (), True)
        self.follow[-1] = set()
        return _Part((at,), (len(self.masks) - 1,), False)

    def _join(self, kind: str, parts: list[_Part]) -> _Part:
        if kind == "choice":
            return _Part(
                tuple(p for part in parts for p in part.first),
                tuple(p for part in parts for p in part.last),
                any(part.is_nullable for part in parts),
            )
        out = _Part((), (), True)
        for part in parts:
            for last in out.last:
                self.follow[last].update(part.first)
            out = _Part(
                out.first + part.first if out.is_nullable else out.first,
                out.last + part.last if part.is_nullable else part.last,
                out.is_nullable and part.is_nullable,
            )
        if kind in ("star", "plus"):
            for last in out.last:
                self.follow[last].update(out.first)
        return out._replace(is_nullable=out.is_nullable or kind in ("star", "maybe"))

    def bytes_after(self, position: int) -> int:
        out = 0
        for following in self.follow[position]:
            out |= self.masks[following]
        return out

    def is_deterministic(self, first: Iterable[int]) -> bool:
        for following in (first, *self.follow):
            seen = 0
            for position in following:
                if seen & self.masks[position]:
                    return False
                seen |= self.masks[position]
        return True
