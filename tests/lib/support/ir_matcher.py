"""A reference matcher for the constraint IR: plain recursion over spans, no automaton.

`ends(node, i)` is the set of places where a match of the node that begins at `i` can end. It knows
nothing of the real engine, so that one can be the oracle of the other.
"""

from __future__ import annotations

from sestina.lang import grammar_ir as ir


def accepts(grammar: ir.Grammar, text: str | bytes) -> bool:
    """Whether the whole text is in the language."""
    data = text.encode() if isinstance(text, str) else text
    return len(data) in _Spans(grammar, data).ends(grammar.start, 0)


class _Spans:
    def __init__(self, grammar: ir.Grammar, data: bytes) -> None:
        self.grammar = grammar
        self.data = data
        self.known: dict[tuple[int, int], frozenset[int]] = {}

    def ends(self, expr: ir.Expr, at: int) -> frozenset[int]:
        key = (id(expr), at)
        if key not in self.known:
            self.known[key] = frozenset(self.find(expr, at))
        return self.known[key]

    def find(self, expr: ir.Expr, at: int) -> set[int] | frozenset[int]:
        match expr:
            case ir.Literal(data):
                return {at + len(data)} if self.data.startswith(data, at) else set()
            case ir.ByteSet(mask):
                return {at + 1} if at < len(self.data) and mask >> self.data[at] & 1 else set()
            case ir.Concat(items):
                places = {at}
                for item in items:
                    places = {end for place in places for end in self.ends(item, place)}
                return places
            case ir.Alt(items):
                return {end for item in items for end in self.ends(item, at)}
            case ir.And(items):
                return set.intersection(*(set(self.ends(item, at)) for item in items))
            case ir.Not(item):
                return set(range(at, len(self.data) + 1)) - self.ends(item, at)
            case ir.Repeat(item, lo, hi):
                return self.repeat(item, lo, hi, at)
            case ir.Permute():
                return self.permute(expr, at)
            case ir.Rule(name):
                return self.ends(self.grammar.rules[name], at)
        raise AssertionError(f"not for this matcher: {expr}")

    def repeat(self, item: ir.Expr, lo: int, hi: int | None, at: int) -> set[int]:
        """Round by round; beyond `lo` only places not yet found can lead to new ones."""
        places, found = {at}, set[int]()
        for count in range(lo + len(self.data) + 2):
            if count >= lo:
                places -= found
                found |= places
            if not places or count == hi:
                break
            places = {end for place in places for end in self.ends(item, place)}
        return found

    def permute(self, node: ir.Permute, at: int) -> set[int]:
        """Every way to set out from every place, with the parts seen so far and their number."""
        todo, known = [(at, frozenset[int](), 0)], set[tuple[int, frozenset[int], int]]()
        found = set[int]()
        while todo:
            way = place, seen, count = todo.pop()
            if way in known or (node.hi is not None and count > node.hi):
                continue
            known.add(way)
            required = {i for i, part in enumerate(node.parts) if part.required}
            if required <= seen and len(seen) >= node.lo:
                found.add(place)
            starts = self.ends(node.separator, place) if count else {place}
            for i, part in enumerate(node.parts):
                if part.repeats or i not in seen:
                    ends = {end for start in starts for end in self.ends(part.item, start)}
                    todo += [(end, seen | {i}, count + 1) for end in ends]
        return found
