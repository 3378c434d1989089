"""Derivatives: what may follow each first symbol of a language (Brzozowski 1964).

All symbols are treated at once: the transitions of an expression are disjoint symbol masks, each
with the language that remains after any symbol of it. This is the local form of the byte classes
of Owens, Reppy and Turon (2009, section 4.2), and one pass gives a whole row of the automaton.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sestina.backend.grammar.expr import ALL, EMPTY, EPSILON, Arena, Kind, resolve

Transitions = tuple[tuple[int, int], ...]
"""(mask, remaining expression), masks disjoint, no remainder EMPTY."""


class Derivatives:
    """Memoised transitions over one arena.

    The remainders may be empty through `And` and `Not` without being EMPTY; `Liveness.live` cuts
    those. Rules must not be left-recursive and must have their bodies.
    """

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._memo: dict[int, Transitions] = {}
        self._of_kind: dict[Kind, Callable[[int], Transitions]] = {
            Kind.EMPTY: lambda e: (),
            Kind.EPSILON: lambda e: (),
            Kind.SET: lambda e: ((arena.args[e][0], EPSILON),),
            Kind.LITERAL: self._literal,
            Kind.CAT: self._cat,
            Kind.ALT: lambda e: self._union(self._memo[part] for part in arena.args[e]),
            Kind.AND: self._and,
            Kind.NOT: self._not,
            Kind.REPEAT: self._repeat,
            Kind.RULE: lambda e: self._memo[arena.rule_body[e]],
        }

    def of(self, e: int) -> Transitions:
        """The transitions of e. O(size of e) the first time, shared parts once."""
        found = self._memo.get(e)
        return resolve(e, self._memo, self._operands, self._combine) if found is None else found

    def followers(self, e: int) -> int:
        """The mask of the symbols that e may begin with."""
        out = 0
        for mask, _ in self.of(e):
            out |= mask
        return out

    def _combine(self, e: int) -> Transitions:
        return self._of_kind[self.arena.kind[e]](e)

    def _operands(self, e: int) -> Iterable[int]:
        """The expressions whose transitions those of e are made from."""
        arena = self.arena
        kind, args = arena.kind[e], arena.args[e]
        if kind is Kind.CAT:
            return args if arena.nullable[args[0]] else args[:1]
        if kind is Kind.AND:
            return [arena.args[e][0] if arena.kind[e] is Kind.NOT else e for e in args]
        if kind is Kind.ALT or kind is Kind.NOT:
            return args
        if kind is Kind.REPEAT:
            return args[:1]
        return (arena.rule_body[e],) if kind is Kind.RULE else ()

    def _literal(self, e: int) -> Transitions:
        data, offset = self.arena.args[e]
        return ((1 << data[offset], self.arena.literal(data, offset + 1)),)

    def _cat(self, e: int) -> Transitions:
        head, tail = self.arena.args[e]
        through = tuple((mask, self.arena.cat(left, tail)) for mask, left in self._memo[head])
        if not self.arena.nullable[head]:
            return through
        return self._union((through, self._memo[tail]))

    def _repeat(self, e: int) -> Transitions:
        # A nullable item has lo = 0 (see Arena.repeat), so dropping one copy is exact: empty
        # copies need not be taken.
        item, lo, hi = self.arena.args[e]
        rest = self.arena.repeat(item, max(lo - 1, 0), None if hi is None else hi - 1)
        return tuple((mask, self.arena.cat(left, rest)) for mask, left in self._memo[item])

    def _not(self, e: int) -> Transitions:
        rest = self.arena.alphabet
        out = []
        for mask, left in self._memo[self.arena.args[e][0]]:
            rest &= ~mask
            out.append((mask, self.arena.complement(left)))
        return _by_target([*out, (rest, ALL)])

    def _and(self, e: int) -> Transitions:
        arena, alphabet = self.arena, self.arena.alphabet
        joint: list[tuple[int, tuple[int, ...]]] = [(alphabet, ())]
        refused: list[Transitions] = []
        cut = 0
        for item in arena.args[e]:
            if arena.kind[item] is Kind.NOT:
                transitions = self._memo[arena.args[item][0]]
                refused.append(transitions)
                for mask, _ in transitions:
                    cut |= mask
                continue
            joint = [
                (common, (*lefts, left))
                for mask, lefts in joint
                for other_mask, left in self._memo[item]
                if (common := mask & other_mask)
            ]
        # Where nothing that is refused could go on, what is left has no complement in it.
        out = [(free, arena.both(lefts)) for mask, lefts in joint if (free := mask & ~cut)]
        for mask, lefts in joint:
            pieces = [(mask & cut, lefts)]
            for transitions in refused:
                pieces = [
                    each
                    for piece, have in pieces
                    if piece
                    for each in self._refuse(piece, have, transitions)
                ]
            out += [(piece, arena.both(have)) for piece, have in pieces if piece]
        return _by_target(out)

    def _refuse(
        self, mask: int, lefts: tuple[int, ...], refused: Transitions
    ) -> list[tuple[int, tuple[int, ...]]]:
        """Cut a mask into pieces by what is refused after them."""
        out = []
        for other, left in refused:
            if common := mask & other:
                out.append((common, (*lefts, self.arena.complement(left))))
                mask &= ~other
        return [*out, (mask, lefts)]

    def _union(self, many: Iterable[Transitions]) -> Transitions:
        by_mask: dict[int, list[int]] = {}
        for transitions in many:
            for mask, left in transitions:
                by_mask.setdefault(mask, []).append(left)
        pieces: list[tuple[int, list[int]]] = []
        for mask, lefts in by_mask.items():
            pieces = _refine(pieces, mask, lefts)
        alt = self.arena.alt
        return _by_target(
            (mask, alt(lefts) if len(lefts) > 1 else lefts[0]) for mask, lefts in pieces
        )


def _refine(
    pieces: list[tuple[int, list[int]]], mask: int, lefts: list[int]
) -> list[tuple[int, list[int]]]:
    """Lay one more mask over disjoint pieces, cutting those that it covers in part."""
    out = []
    for piece, have in pieces:
        common = piece & mask
        if not common:
            out.append((piece, have))
            continue
        out.append((common, have + lefts))
        if piece != common:
            out.append((piece & ~common, have))
        mask &= ~common
    if mask:
        out.append((mask, lefts))
    return out


def _by_target(transitions: Iterable[tuple[int, int]]) -> Transitions:
    """Join the masks that lead to the same expression; drop what leads nowhere."""
    masks: dict[int, int] = {}
    for mask, left in transitions:
        masks[left] = masks.get(left, 0) | mask
    return tuple((mask, left) for left, mask in masks.items() if mask and left != EMPTY)
