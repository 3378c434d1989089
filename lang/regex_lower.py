"""Regular expressions as languages, with anchors exact: the algebra under `regex_syntax`.

A `Fragment` is what one part of a pattern matches, split by what the match demands of its
surroundings. A case is a pair (start, end): `start` is 1 if the match must begin where the text
begins; `end` is FREE, LINE_END (Python's `$`: the match ends where the text ends, or before its
last newline) or TEXT_END. Concatenation combines cases: what stands before a demanded start, or
after a demanded end, must be empty. So `^`, `$`, `\\A` and `\\Z` are exact wherever they stand, but
for repeated groups, which are refused by the parser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sestina.lang.expr import either, is_nothing, seq, times
from sestina.lang.grammar_ir import ANY_CHAR, EPSILON, Expr, Ranges, normalise, optional, star

FREE, LINE_END, TEXT_END = 0, 1, 2
Case = tuple[int, int]
PLAIN: Case = (0, FREE)

Spell = Callable[[Ranges], Expr]
"""How one character of a set is written in the text: `expr.char`, or a JSON spelling."""


class Part(NamedTuple):
    """The texts of one case: never empty as a set. Flags: matches "", matches "\\n"."""

    expr: Expr
    nullable: bool
    newline: bool


@dataclass(frozen=True, slots=True)
class Fragment:
    """Cases in a fixed order; no case at all is the empty language."""

    cases: tuple[tuple[Case, Part], ...]

    @property
    def is_anchored(self) -> bool:
        return any(case != PLAIN for case, _ in self.cases)


class NewlineAfterDollar(Exception):
    """Something that can match a newline follows Python's `$`: not split into cases here."""


EMPTY_TEXT = Fragment(((PLAIN, Part(EPSILON, True, False)),))
NO_TEXT = Fragment(())


def anchor(case: Case) -> Fragment:
    """The empty text, demanding `case`."""
    return Fragment(((case, Part(EPSILON, True, False)),))


def char_set(ranges: Iterable[tuple[int, int]], spell: Spell) -> Fragment:
    """One character of a set."""
    wanted = normalise(ranges)
    if not wanted:
        return NO_TEXT
    newline = any(lo <= 0x0A <= hi for lo, hi in wanted)
    return Fragment(((PLAIN, Part(spell(wanted), False, newline)),))


def sequence(items: Iterable[Fragment]) -> Fragment:
    """One after the other. Plain runs are joined in one go; cost is linear in the items."""
    result = EMPTY_TEXT
    run: list[Part] = []
    for item in items:
        if len(item.cases) == 1 and item.cases[0][0] == PLAIN:
            run.append(item.cases[0][1])
            continue
        result = _after(_after(result, _plain_run(run)), item)
        run = []
    return _after(result, _plain_run(run))


def union(items: Iterable[Fragment]) -> Fragment:
    """Any of them."""
    found: dict[Case, list[Part]] = {}
    for item in items:
        for case, part in item.cases:
            found.setdefault(case, []).append(part)
    return Fragment(
        tuple(
            (
                case,
                Part(
                    either(p.expr for p in parts),
                    any(p[1] for p in parts),
                    any(p[2] for p in parts),
                ),
            )
            for case, parts in found.items()
        )
    )


def repeat(item: Fragment, lo: int, hi: int | None) -> Fragment:
    """lo to hi copies; an anchored item only {1,1} or {0,1} (the caller refuses others)."""
    if hi == 0:
        return EMPTY_TEXT
    if item.is_anchored:
        return item if lo == 1 else union([EMPTY_TEXT, item])
    if not item.cases:
        return EMPTY_TEXT if lo == 0 else NO_TEXT
    part = item.cases[0][1]
    nullable = lo == 0 or part.nullable
    newline = part.newline and (lo <= 1 or part.nullable)
    return Fragment(((PLAIN, Part(times(part.expr, lo, hi), nullable, newline)),))


def whole_text(fragment: Fragment) -> Expr:
    """The texts that match from beginning to end (`re.fullmatch`); maybe NOTHING."""
    return either(part.expr for _, part in fragment.cases)


def anywhere(fragment: Fragment, spell: Spell) -> Expr:
    """The texts with a match somewhere inside (`re.search`, ECMA-262 `test`); maybe NOTHING."""
    gap = star(spell(ANY_CHAR))
    after = {FREE: gap, LINE_END: optional(spell(((0x0A, 0x0A),))), TEXT_END: EPSILON}
    return either(
        seq(EPSILON if start else gap, part.expr, after[end])
        for (start, end), part in fragment.cases
    )


def _plain_run(parts: list[Part]) -> Fragment:
    if not parts:
        return EMPTY_TEXT
    required = [p for p in parts if not p.nullable]
    nullable = not required
    newline = any(
        p.newline and (nullable or (len(required) == 1 and required[0] is p)) for p in parts
    )
    return Fragment(((PLAIN, Part(seq(*(p.expr for p in parts)), nullable, newline)),))


def _after(left: Fragment, right: Fragment) -> Fragment:
    """Concatenation by cases; the demands are explained at the head of this module."""
    found: list[Fragment] = []
    for (start_a, end_a), a in left.cases:
        for (start_b, end_b), b in right.cases:
            if end_a == LINE_END and b.newline:
                raise NewlineAfterDollar
            part, start = _join(a, end_a, b, start_b)
            if part is not None and not is_nothing(part.expr):
                found.append(Fragment((((start_a | start, max(end_a, end_b)), part),)))
    return union(found)


def _join(a: Part, end_a: int, b: Part, start_b: int) -> tuple[Part | None, int]:
    """The texts of `a` then `b` that meet both demands, and whether a start is demanded."""
    if end_a != FREE and not b.nullable:
        return None, 0
    if start_b and not a.nullable:
        return None, 0
    if end_a != FREE and start_b:
        return Part(EPSILON, True, False), 1
    if end_a != FREE:
        return a, 0
    if start_b:
        return b, 1
    newline = (a.newline and b.nullable) or (a.nullable and b.newline)
    return Part(seq(a.expr, b.expr), a.nullable and b.nullable, newline), 0
