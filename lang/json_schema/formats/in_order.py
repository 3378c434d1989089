"""Two ends in order, as in `[a-z]` and `{2,3}`, without naming each pair.

Two texts of the same length are in order if they are the same up to some place, and there the
first has less. "The same here" and "less here" take as many alternatives as a place has digits; an
intersection of them says it for all places, where the pairs would be the square of all numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sestina.lang.expr import either, seq
from sestina.lang.grammar_ir import And, Expr, Literal
from sestina.lang.json_schema.string import quoted, spelled

Span = tuple[int, int]
"""The digits from one to another, either of which may stand at a place."""

Write = Callable[[Sequence[Span]], Expr]
"""The texts that have such digits at their places."""


def text(chars: str) -> Expr:
    """These characters, as they stand inside a JSON string."""
    return Literal(quoted(chars).data[1:-1])


def among(chars: str) -> Expr:
    """One of these characters."""
    return spelled(tuple((ord(one), ord(one)) for one in sorted(chars)))


def in_order(
    first: Write, last: Write, places: Sequence[Span], between: Expr, *, may_equal: bool = True
) -> Iterator[Expr]:
    """The texts "x between y" with x <= y, as alternatives: one for each place where they differ.

    Each end is written in its own way.
    """

    def pairs(place: int, least: int, *, is_open: bool) -> Expr:
        """At this place y has at least `least` more, or (not is_open) no more than that."""
        low, high = places[place]
        before, after = places[:place], places[place + 1 :]
        found = []
        for digit in range(low, high + 1 - least):
            above = (digit + least, high if is_open else digit + least)
            ends = ([*before, one, *after] for one in ((digit, digit), above))
            found.append(seq(first(next(ends)), between, last(next(ends))))
        return either(found)

    same = [pairs(place, 0, is_open=False) for place in range(len(places) - 1)]
    for place in range(len(places)):
        is_last = place == len(places) - 1
        parts = [*same[:place], pairs(place, 0 if is_last and may_equal else 1, is_open=True)]
        yield And(tuple(parts)) if len(parts) > 1 else parts[0]
