"""From the syntax tree to a language: looks become intersections and complements, exactly.

The language of a part depends on what follows it and on what is before it. What follows is handed
down as a continuation: a part `r` before `k` has the language `L(r, k)`, with

    L(plain, k)  = plain k              L(r s, k)  = L(r, L(s, k))
    L((?=x), k)  = L(x, any) & k        L(r|s, k)  = L(r, k) | L(s, k)
    L((?!x), k)  = k & ~L(x, any)

What is before is the state of a `Monitor` of all looks behind, and a continuation is a tuple with
an expression for each of its states (mostly the same one). Where plain texts stand between places
whose states matter, they are intersected with the paths from one state to the other.

A loop with looks inside would be an equation between languages with & and ~ in it: see `loops`.
Negations read the other way: see `classes` for the two readings.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import dropwhile
from typing import NoReturn

from sestina.lang.errors import ConstraintLimitExceeded, UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, maybe, seq, times
from sestina.lang.grammar_ir import (
    ANY_CHAR,
    EPSILON,
    NOTHING,
    Alt,
    And,
    Concat,
    Expr,
    Literal,
    Ranges,
    star,
)
from sestina.lang.regex import loops
from sestina.lang.regex.classes import Spell, intersect
from sestina.lang.regex.graph import Paths, labels
from sestina.lang.regex.monitor import (
    TRIVIAL,
    Monitor,
    OtherDirection,
    Scan,
    TooManyStates,
    looks,
    monitor,
)
from sestina.lang.regex.nodes import (
    ENDS,
    TEXT_START,
    Char,
    Look,
    Loop,
    Node,
    Or,
    Seq,
    seq_of,
)
from sestina.lang.regex.sets import Sets

MAX_PRODUCTS = 20_000
MAX_UNROLLED = 3
MAX_TRIED = 32
MAX_UNROLLED_AT_NEED = 64

After = tuple[Expr, ...]
"""What may follow a place, for each state that the monitor may have there."""


def whole_text(node: Node, spell: Spell, *, is_maybe: bool) -> Expr:
    """The texts that match from beginning to end (`re.fullmatch`); maybe NOTHING."""
    if not node.has_look:
        return plain(node, spell, is_maybe)
    node, _ = _from_start(node)
    lowering = Lowering(node, spell, is_maybe)
    return lowering.lower(node, lowering.every(EPSILON), is_maybe)[0]


def anywhere(node: Node, spell: Spell, *, is_maybe: bool) -> Expr:
    """The texts with a match somewhere inside (`re.search`, ECMA-262 `test`); maybe NOTHING."""
    gap = any_text(spell)
    if not node.has_look:
        return seq(gap, plain(node, spell, is_maybe), gap)
    node, is_at_start = _from_start(node)
    lowering = Lowering(node, spell, is_maybe)
    found = lowering.lower(node, lowering.every(gap), is_maybe)
    return (found if is_at_start else lowering.before(gap, found))[0]


def _from_start(node: Node) -> tuple[Node, bool]:
    """Without the `^` at its beginning, and whether there was one."""
    items = node.items if isinstance(node, Seq) else (node,)
    rest = tuple(dropwhile(lambda item: item is TEXT_START, items))
    return (node, False) if len(rest) == len(items) else (seq_of(rest), True)


@functools.lru_cache(maxsize=8)
def any_text(spell: Spell) -> Expr:
    return star(spell(ANY_CHAR))


def plain(node: Node, spell: Spell, is_maybe: bool) -> Expr:
    """The language of a tree without looks. Recursive in groups, whose nesting is limited."""
    match node:
        case Char(chars):
            return spell(chars.maybe if is_maybe else chars.sure)
        case Seq(items):
            return seq(*[plain(item, spell, is_maybe) for item in items])
        case Loop(item, lo, hi):
            return times(plain(item, spell, is_maybe), lo, hi)
        case Or(items):
            return either([plain(item, spell, is_maybe) for item in items])
        case Look():
            raise TypeError("a look is not plain")


class Lowering:
    """One tree being lowered. Its errors have a position but no source: see `regex_syntax`."""

    def __init__(self, node: Node, spell: Spell, is_maybe: bool) -> None:
        self.spell = spell
        self.universe = any_text(spell)
        self.sets = Sets(self.universe)
        self._products_left = MAX_PRODUCTS
        self.behind = self.watch(looks(node, is_maybe, is_ahead=False))

    @functools.cached_property
    def paths(self) -> Paths:
        """Between the states of `behind`."""
        return self.paths_of(self.behind, TRIVIAL)

    def spend(self, products: int) -> None:
        """Pay for work; raises ConstraintLimitExceeded when there is too much of it."""
        self._products_left -= products
        if self._products_left < 0:
            raise ConstraintLimitExceeded(
                f"a regex whose look-arounds need more than {MAX_PRODUCTS} products of languages"
            )

    def every(self, expr: Expr) -> After:
        return (expr,) * len(self.behind.step)

    def watch(self, scans: Sequence[Scan]) -> Monitor:
        """The monitor of looks of one direction."""
        try:
            return monitor(scans)
        except OtherDirection as error:
            inner: Look = error.args[0]
            one, other = ("ahead", "behind") if inner.is_ahead else ("behind", "ahead")
            refuse(f"a look-{one} inside a look-{other} here", inner.at)
        except TooManyStates:
            refuse("a look-around here that needs too many states", scans[0].look.at)

    def paths_of(self, before: Monitor, after: Monitor) -> Paths:
        found = labels(before, after, self.spend)
        return Paths(found, self.spell, self.universe, self.spend)

    def lower(self, node: Node, after: After, is_maybe: bool) -> After:
        """L(node, after)."""
        self.spend(1)
        match node:
            case Char(chars) if not _is_one(after):
                return self._char(chars.maybe if is_maybe else chars.sure, after)
            case Seq(items) if node.has_look or not _is_one(after):
                return self._sequence(items, after, is_maybe)
            case _ if not node.has_look:
                return self.before(plain(node, self.spell, is_maybe), after)
            case Or(items):
                return self.either([self.lower(item, after, is_maybe) for item in items])
            case Look():
                return self._look(node, after, is_maybe)
            case Loop():
                return self._loop(node, after, is_maybe)
        raise TypeError(f"no node with looks: {node!r:.80}")

    def _sequence(self, items: Sequence[Node], after: After, is_maybe: bool) -> After:
        """From the last to the first; plain items in a row are joined in one go if they can be.

        They can as soon as all that may follow is the same; if it does not become the same soon,
        all of them are cut by the paths that their texts take.
        """
        end, tried = len(items), 0
        while end:
            item = items[end - 1]
            if not item.has_look and (_is_one(after) or tried == MAX_TRIED):
                begin = end
                while begin and not items[begin - 1].has_look:
                    begin -= 1
                run = [plain(each, self.spell, is_maybe) for each in items[begin:end]]
                after = self.before(seq(*run), after)
                end = begin
            else:
                after = self.lower(item, after, is_maybe)
                tried = 0 if item.has_look else tried + 1
                end -= 1
        return after

    def before(self, expr: Expr, after: After) -> After:
        """L(expr, after) for a plain language."""
        last = after[0]
        self.spend(_weight(last))
        if _is_one(after):
            is_any = last is self.universe and self.sets.nullable(expr)
            return self.every(self.universe if is_any else seq(expr, last))
        may_be_empty = self.sets.nullable(expr)
        groups = _groups(after)
        known: dict[tuple[int, ...], Expr] = {}
        found: list[Expr] = []
        for state, here in enumerate(after):
            some = [self.paths.some(state, group) for _, group in groups]
            key = (id(here) if may_be_empty else 0, *map(id, some))
            if key not in known:
                parts = [
                    seq(self.sets.both(expr, path), following)
                    for path, (following, _) in zip(some, groups, strict=True)
                ]
                known[key] = either([here, *parts] if may_be_empty else parts)
            found.append(known[key])
        return tuple(found)

    def plain(self, node: Node, is_maybe: bool) -> Expr:
        return plain(node, self.spell, is_maybe)

    def either(self, options: Sequence[After]) -> After:
        """Any of several; where the parts are the same for two states, so is the result."""
        known: dict[tuple[int, ...], Expr] = {}
        found: list[Expr] = []
        for parts in zip(*options, strict=True):
            key = tuple(map(id, parts))
            if key not in known:
                is_any = any(part is self.universe for part in parts)
                known[key] = self.universe if is_any else either(parts)
            found.append(known[key])
        return tuple(found)

    def _char(self, chars: Ranges, after: After) -> After:
        known: dict[tuple[tuple[int, Ranges], ...], Expr] = {}
        found: list[Expr] = []
        for row in self.paths.rows:
            parts = tuple(
                (there, shared)
                for there, ranges in row.items()
                if (shared := intersect(chars, ranges))
            )
            if parts not in known:
                known[parts] = either(seq(self.spell(c), after[there]) for there, c in parts)
            found.append(known[parts])
        return tuple(found)

    def _look(self, node: Look, after: After, is_maybe: bool) -> After:
        if not node.is_ahead:
            scan = Scan(node, is_maybe)
            held = self.paths.labels.holds
            return tuple(
                k if scan in here else NOTHING for k, here in zip(after, held, strict=True)
            )
        if node in ENDS:
            newline = ENDS[node].maybe if is_maybe else ENDS[node].sure
            body, combine = self.every(maybe(self.spell(newline))), self.sets.both
        else:
            is_body_maybe = is_maybe is not node.is_negative
            body = self.lower(node.body, self.every(self.universe), is_body_maybe)
            combine = self.sets.without if node.is_negative else self.sets.both
        known: dict[tuple[int, int], Expr] = {}
        for k, x in zip(after, body, strict=True):
            if (id(k), id(x)) not in known:
                self.spend(_weight(k) + _weight(x))
                known[id(k), id(x)] = combine(k, x)
        return tuple(known[id(k), id(x)] for k, x in zip(after, body, strict=True))

    def _loop(self, node: Loop, after: After, is_maybe: bool) -> After:
        hi = node.hi
        if hi is not None and hi <= MAX_UNROLLED:
            return self._unrolled(node, hi, after, is_maybe)
        try:
            return loops.lower(self, node, after, is_maybe)
        except UnsupportedConstraint:
            if hi is None or hi > MAX_UNROLLED_AT_NEED:
                raise
            return self._unrolled(node, hi, after, is_maybe)

    def _unrolled(self, node: Loop, hi: int, after: After, is_maybe: bool) -> After:
        found = after
        for done in reversed(range(hi)):
            found = self.lower(node.item, found, is_maybe)
            if done >= node.lo:
                found = self.either([after, found])
        return found


def refuse(what: str, position: int) -> NoReturn:
    raise UnsupportedConstraint(
        f"not supported in a regex, because not enforced exactly: {what}",
        keyword="look-around",
        position=position,
    )


def _is_one(after: After) -> bool:
    first = after[0]
    return all(k is first for k in after)


def _weight(expr: Expr) -> int:
    """What it costs to put something before an expression, beside the one product."""
    if isinstance(expr, (Concat, And, Alt)) and expr.items:
        first = expr.items[0]
        return len(expr.items) // 16 + (_weight(first) if isinstance(first, Literal) else 0)
    return len(expr.data) // 1024 if isinstance(expr, Literal) else 0


def _groups(after: After) -> list[tuple[Expr, frozenset[int]]]:
    """What may follow, with the states that it may follow; NOTHING is left out."""
    states: dict[int, list[int]] = {}
    for state, k in enumerate(after):
        if not is_nothing(k):
            states.setdefault(id(k), []).append(state)
    return [(after[group[0]], frozenset(group)) for group in states.values()]
