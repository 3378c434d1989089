"""Whether one short text is in the language of an expression: plain recursion over spans.

For the few names and constants that a schema mentions; generated text goes through an automaton.
Cost: up to the square of the text's length for each node.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sestina.lang.grammar_ir import Alt, And, ByteSet, Concat, Expr, Literal, Not, Repeat, Rule

_NO_RULES: Mapping[str, Expr] = MappingProxyType({})


def matches(expr: Expr, data: bytes, rules: Mapping[str, Expr] | None = None) -> bool:
    """Whether the whole of `data` is in the language of an expression.

    Its rules may not be left-recursive; each one entered takes some of Python's stack.

    >>> matches(Repeat(Literal(b"ab"), 1, None), b"abab")
    True
    """
    return len(data) in _Spans(data, rules or _NO_RULES).ends(expr, 0)


class _Spans:
    """The places where a match that begins at a given place can end, found once each."""

    def __init__(self, data: bytes, rules: Mapping[str, Expr]) -> None:
        self.data = data
        self.rules = rules
        self.known: dict[tuple[int, int], frozenset[int]] = {}

    def ends(self, expr: Expr, at: int) -> frozenset[int]:
        key = (id(expr), at)
        if key not in self.known:
            self.known[key] = self._find(expr, at)
        return self.known[key]

    def _find(self, expr: Expr, at: int) -> frozenset[int]:
        data = self.data
        match expr:
            case Literal(text):
                return frozenset({at + len(text)} if data.startswith(text, at) else ())
            case ByteSet(mask):
                is_in = at < len(data) and mask >> data[at] & 1
                return frozenset({at + 1} if is_in else ())
            case Concat(items):
                places = frozenset({at})
                for item in items:
                    places = self._from(item, places)
                return places
            case Alt(items):
                return frozenset(end for item in items for end in self.ends(item, at))
            case And(items):
                return frozenset.intersection(*(self.ends(item, at) for item in items))
            case Not(item):
                return frozenset(range(at, len(data) + 1)) - self.ends(item, at)
            case Repeat(item, lo, hi):
                return self._repeat(item, lo, hi, at)
            case Rule(name):
                return self.ends(self.rules[name], at)
        raise TypeError(f"not for a short text: {expr!r:.80}")

    def _from(self, expr: Expr, places: frozenset[int]) -> frozenset[int]:
        return frozenset(end for place in places for end in self.ends(expr, place))

    def _repeat(self, item: Expr, lo: int, hi: int | None, at: int) -> frozenset[int]:
        """Round by round; a round that repeats an earlier one of the obligatory ones is skipped."""
        places, found = frozenset({at}), frozenset[int]()
        count = 0
        while places and count < lo:
            following = self._from(item, places)
            count = lo if following == places else count + 1
            places = following
        while places and (hi is None or count <= hi):
            places -= found
            found |= places
            places = self._from(item, places)
            count += 1
        return found
