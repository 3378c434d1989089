"""The part of the syntax that both dialects share: alternatives, groups and quantifiers.

`Groups` keeps the open groups on a stack of its own, so nesting costs no Python recursion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sestina.lang import grammar_ir as ir
from sestina.lang.expr import char, either, maybe, seq, times
from sestina.lang.grammar_syntax.source import Cursor

MAX_NESTING = 100
MAX_REPEAT = 1_000_000


@dataclass(slots=True)
class _Group:
    """A group being read: finished alternatives, finished operands of `&`, current sequence.

    negations: prefixes `~` that wait for their item. can_repeat: the last item has no quantifier.
    """

    opened_at: int
    closer: str
    alternatives: list[ir.Expr] = field(default_factory=list)
    operands: list[ir.Expr] = field(default_factory=list)
    items: list[ir.Expr] = field(default_factory=list)
    negations: int = 0
    can_repeat: bool = False


class Groups:
    """The body of one definition while it is read; `finish` gives its expression."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.stack = [_Group(cursor.at, "")]

    @property
    def depth(self) -> int:
        return len(self.stack) - 1

    @property
    def can_repeat(self) -> bool:
        """Whether a quantifier may come next."""
        return self.stack[-1].can_repeat

    def add(self, item: ir.Expr) -> None:
        group = self.stack[-1]
        for _ in range(group.negations % 2):
            item = ir.And((_ANY_TEXT, ir.Not(item)))
        group.negations = 0
        group.items.append(item)
        group.can_repeat = True

    def open(self, opener: str) -> None:
        """A `(` or `[` was just read."""
        if len(self.stack) > MAX_NESTING:
            self.cursor.exceed(f"groups nested deeper than {MAX_NESTING}", self.cursor.at - 1)
        self.stack.append(_Group(self.cursor.at - 1, _CLOSERS[opener]))

    def close(self, closer: str) -> None:
        """A `)` or `]` was just read."""
        group = self.stack[-1]
        if group.closer != closer:
            self.cursor.fail(f"unmatched {closer}", self.cursor.at - 1)
        self.stack.pop()
        inner = self._finished(group)
        self.add(maybe(inner) if closer == "]" else inner)

    def bar(self) -> None:
        group = self.stack[-1]
        group.alternatives.append(self._conjunction(group))
        group.operands, group.items, group.can_repeat = [], [], False

    def ampersand(self) -> None:
        group = self.stack[-1]
        group.operands.append(self._sequence(group))
        group.items, group.can_repeat = [], False

    def negate(self) -> None:
        self.stack[-1].negations += 1
        self.stack[-1].can_repeat = False

    def quantify(self, lo: int, hi: int | None, position: int) -> None:
        group = self.stack[-1]
        if not group.can_repeat:
            twice = "; put parentheses around what is repeated twice" if group.items else ""
            self.cursor.fail(f"nothing to repeat{twice}", position)
        if hi is not None and hi < lo:
            self.cursor.fail(f"at least {lo} but at most {hi} times", position)
        group.items[-1] = times(group.items[-1], lo, hi)
        group.can_repeat = False

    def finish(self) -> ir.Expr:
        group = self.stack[-1]
        if self.depth:
            self.cursor.fail(f"missing {group.closer}, unterminated group", group.opened_at)
        return self._finished(group)

    def _finished(self, group: _Group) -> ir.Expr:
        return either([*group.alternatives, self._conjunction(group)])

    def _conjunction(self, group: _Group) -> ir.Expr:
        last = self._sequence(group)
        return ir.And((*group.operands, last)) if group.operands else last

    def _sequence(self, group: _Group) -> ir.Expr:
        if group.negations:
            self.cursor.fail("~ needs something to exclude", self.cursor.at)
        return seq(*group.items)


def read_short_quantifier(groups: Groups) -> None:
    """The `?`, `*` or `+` that was just read."""
    cursor = groups.cursor
    lo, hi = _SHORT_BOUNDS[cursor.text[cursor.at - 1]]
    groups.quantify(lo, hi, cursor.at - 1)


def read_braces(groups: Groups) -> None:
    """The `{n}`, `{n,}` or `{n,m}` whose `{` was just read."""
    cursor = groups.cursor
    start = cursor.at - 1
    found = cursor.match(_BRACES)
    if found is None:
        cursor.fail("a count is written {n}, {n,} or {n,m}", start)
    low, comma, high = (part.strip() for part in found[:-1].partition(","))
    lo = count(cursor, low, start)
    hi = (count(cursor, high, start) if high else None) if comma else lo
    groups.quantify(lo, hi, start)


def count(cursor: Cursor, digits: str, position: int) -> int:
    if len(digits) > 12 or int(digits) > MAX_REPEAT:
        cursor.exceed(f"a repeat count above {MAX_REPEAT}", position)
    return int(digits)


_BRACES = re.compile(r"[ \t]*[0-9]+[ \t]*(,[ \t]*[0-9]*[ \t]*)?\}")
_CLOSERS: Mapping[str, str] = {"(": ")", "[": "]"}
_SHORT_BOUNDS: Mapping[str, tuple[int, int | None]] = {"?": (0, 1), "*": (0, None), "+": (1, None)}

# A complement is of texts, so what is no UTF-8 is not in it.
_ANY_TEXT = ir.star(char(ir.ANY_CHAR))
