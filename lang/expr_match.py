"""Whether one short text is in the language of an expression: plain recursion over its nodes.

For the few names and constants that a schema mentions; generated text goes through an automaton.
All places where a match may begin are followed at once, as the bits of one integer; And and Not
are looked at from one place at a time, and everything is once there were too many sets of places.
So the cost is at most the square of the text's length for each node, and as a rule a few operations
for each round of a repetition.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sestina.lang.grammar_ir import Alt, And, ByteSet, Concat, Expr, Literal, Not, Repeat, Rule

_NO_RULES: Mapping[str, Expr] = MappingProxyType({})

MAX_SETS = 5_000


def matches(expr: Expr, data: bytes, rules: Mapping[str, Expr] | None = None) -> bool:
    """Whether the whole of `data` is in the language of an expression.

    Its rules may not be left-recursive; each one entered takes some of Python's stack.

    >>> matches(Repeat(Literal(b"ab"), 1, None), b"abab")
    True
    """
    return bool(_Spans(data, rules or _NO_RULES).ends(expr, 1) >> len(data))


class _Spans:
    """From the places where matches begin (bit i: before byte i) to those where they can end."""

    def __init__(self, data: bytes, rules: Mapping[str, Expr]) -> None:
        self.data = data
        self.rules = rules
        self.everywhere = (2 << len(data)) - 1
        self.known: dict[tuple[int, int], int] = {}  # by the identity of a node, and where it began
        self.members: dict[int, int] = {}  # for each byte set the places before its bytes
        self.options: dict[int, list[Expr]] = {}  # of an Alt, by its identity: see `_options`

    def ends(self, expr: Expr, starts: int) -> int:
        if not starts:
            return 0  # nor is a rule entered for it, which might not end
        if isinstance(expr, ByteSet):
            return (starts & self._before(expr.mask)) << 1
        key = (id(expr), starts)
        found = self.known.get(key)
        if found is None:
            is_one = not starts & (starts - 1)
            if is_one or not (isinstance(expr, (And, Not)) or len(self.known) > MAX_SETS):
                found = self._find(expr, starts)
            else:
                found = self._one_by_one(expr, starts)
            self.known[key] = found
        return found

    def _one_by_one(self, expr: Expr, starts: int) -> int:
        found = 0
        while starts:
            found |= self.ends(expr, starts & -starts)
            starts &= starts - 1
        return found

    def _find(self, expr: Expr, starts: int) -> int:
        match expr:
            case Literal(text):
                return self._literal(text, starts)
            case Concat(items):
                for item in items:
                    starts = self.ends(item, starts)
                return starts
            case Alt():
                found = 0
                for item in self._options(expr):
                    found |= self.ends(item, starts)
                return found
            case And(items):
                found = self.everywhere
                for item in items:
                    found &= self.ends(item, starts)
                return found
            case Not(item):
                return self.everywhere & -starts & ~self.ends(item, starts)
            case Repeat(item, lo, hi):
                return self._repeat(item, lo, hi, starts)
            case Rule(name):
                return self.ends(self.rules[name], starts)
        raise TypeError(f"not for a short text: {expr!r:.80}")

    def _options(self, expr: Alt) -> list[Expr]:
        """The items whose beginning is in the text: of a character in UTF-8 one or two of forty."""
        found = self.options.get(id(expr))
        if found is None:
            found = [item for item in expr.items if self._may_begin(item)]
            self.options[id(expr)] = found
        return found

    def _may_begin(self, expr: Expr) -> bool:
        first = expr.items[0] if isinstance(expr, Concat) and expr.items else expr
        if isinstance(first, ByteSet):
            return self._before(first.mask) > 0
        return not isinstance(first, Literal) or first.data in self.data

    def _literal(self, text: bytes, starts: int) -> int:
        found, at = 0, self.data.find(text)
        while at >= 0:
            found |= 1 << at
            at = self.data.find(text, at + 1)
        return (starts & found) << len(text)

    def _before(self, byte_set: int) -> int:
        found = self.members.get(byte_set)
        if found is None:
            found = sum(1 << i for i, byte in enumerate(self.data) if byte_set >> byte & 1)
            self.members[byte_set] = found
        return found

    def _repeat(self, item: Expr, lo: int, hi: int | None, starts: int) -> int:
        """Round by round; a round that repeats an earlier one of the obligatory ones is skipped."""
        found, count = 0, 0
        while starts and count < lo:
            following = self.ends(item, starts)
            count = lo if following == starts else count + 1
            starts = following
        while starts:
            starts &= ~found
            found |= starts
            if count == hi:
                break
            starts = self.ends(item, starts)
            count += 1
        return found
