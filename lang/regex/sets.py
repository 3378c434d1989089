"""Intersections and differences of languages, simplified where that is plain to see.

An `And` with the empty text, or with a text or two, is decided at once: that is what an anchor
leaves of what follows it.
"""

from __future__ import annotations

from sestina.lang.expr import either, is_nothing
from sestina.lang.expr_match import matches
from sestina.lang.grammar_ir import (
    EPSILON,
    NOTHING,
    Alt,
    And,
    ByteSet,
    Concat,
    Expr,
    Literal,
    Not,
    Repeat,
    parts,
)

# Bytes of a text that is looked up; it takes the square of its length.
MAX_LISTED = 8


class Sets:
    """`universe` is the language that holds all others, known by its identity."""

    def __init__(self, universe: Expr) -> None:
        self.universe = universe
        # The expression is kept beside the answer: its identity must not be used again.
        self._nullable: dict[int, tuple[Expr, bool]] = {}

    def both(self, a: Expr, b: Expr) -> Expr:
        """The texts in `a` and in `b`."""
        if a is self.universe or is_nothing(b) or a is b:
            return b
        if b is self.universe or is_nothing(a):
            return a
        for few, other in ((_listed(a), b), (_listed(b), a)):
            if few is not None:
                return either(text for text in few if self._has(other, text))
        return And((*_operands(a), *_operands(b)))

    def without(self, a: Expr, b: Expr) -> Expr:
        """The texts in `a` and not in `b`."""
        if b is self.universe or a is b:
            return NOTHING
        if is_nothing(a) or is_nothing(b):
            return a
        few = _listed(a)
        if few is not None:
            return either(text for text in few if not self._has(b, text))
        return And((*_operands(a), Not(b)))

    def nullable(self, expr: Expr) -> bool:
        """Whether the empty text is in a language; nothing is asked twice. No recursion."""
        known = self._nullable
        stack = [expr]
        while stack:
            node = stack[-1]
            if id(node) in known:
                stack.pop()
                continue
            missing = [part for part in parts(node) if id(part) not in known]
            if missing:
                stack += missing
                continue
            answers = [known[id(part)][1] for part in parts(node)]
            known[id(node)] = node, _is_nullable(node, answers)
            stack.pop()
        return known[id(expr)][1]

    def _has(self, expr: Expr, text: Literal) -> bool:
        return matches(expr, text.data) if text.data else self.nullable(expr)


def _listed(expr: Expr) -> tuple[Literal, ...] | None:
    """The texts of a language of one short text, maybe with the empty one; None for any other."""
    if isinstance(expr, Literal):
        return (expr,) if len(expr.data) <= MAX_LISTED else None
    if isinstance(expr, Repeat) and (expr.lo, expr.hi) == (0, 1) and isinstance(expr.item, Literal):
        return (EPSILON, expr.item) if len(expr.item.data) <= MAX_LISTED else None
    return None


def _operands(expr: Expr) -> tuple[Expr, ...]:
    return expr.items if isinstance(expr, And) else (expr,)


def _is_nullable(expr: Expr, below: list[bool]) -> bool:
    match expr:
        case Literal(data):
            return not data
        case ByteSet():
            return False
        case Concat() | And():
            return all(below)
        case Alt():
            return any(below)
        case Repeat(_, lo, _):
            return lo == 0 or below[0]
        case Not():
            return not below[0]
    raise TypeError(f"not a rule-free expression: {expr!r:.80}")
