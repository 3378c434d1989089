"""Languages over bytes as hash-consed expressions: equal expressions are the same integer.

Expressions are simplified while they are made, so that derivatives of a language come in few
shapes (Owens, Reppy, Turon 2009, "Regular-expression derivatives re-examined", section 4.1, asks
for no more than flat, sorted alternations; the counter and prefix rules here are ours). Nothing
below recurses to a depth that the input chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from sestina.backend.grammar.limits import Budget

EMPTY = 0  # no text at all
EPSILON = 1  # the empty text
ALL = 2  # every byte string

NUM_BYTES = 256
EVERY_BYTE = (1 << NUM_BYTES) - 1

# A literal's tail shares the bytes of the whole until it is this short; short tails are cut out, so
# that equal endings of different literals meet in one expression.
_SHARED_TAIL = 32

# How many equal heads in a row `alt` factors out; beyond it the result is larger, not different.
_FACTOR_DEPTH = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What texts are made of: the bytes of a vocabulary, and its control tokens by name.

    control_ids None: there is no vocabulary, so `Special` is refused. Tokens in `eos_ids` cannot be
    named in a grammar, since they end the text.
    """

    byte_mask: int = EVERY_BYTE
    control_ids: Mapping[str, int] | None = None
    eos_ids: tuple[int, ...] = ()


class Kind(IntEnum):
    """What an expression is; its `args` are given in brackets."""

    EMPTY = 0
    EPSILON = 1
    SET = 2  # [mask] one symbol: a byte, or from bit 256 on a control token
    LITERAL = 3  # [data, offset] data[offset:], at least two bytes
    CAT = 4  # [head, tail] head is no CAT
    ALT = 5  # [items...] sorted, at least two, none an ALT
    AND = 6  # [items...] likewise
    NOT = 7  # [item]
    REPEAT = 8  # [item, lo, hi] hi None is unbounded
    RULE = 9  # [key]


class Arena:
    """The expressions of one machine. Not thread-safe: the machine locks around it.

    budget: who pays for new expressions.
    alphabet: mask of the bytes that texts are made of (a vocabulary may lack some).
    Per expression: kind, args, nullable (matches the empty text), boolean (has an And or Not that
    could be empty). Without `boolean`, every expression but EMPTY matches some text.
    """

    def __init__(self, budget: Budget, alphabet: int = EVERY_BYTE) -> None:
        self.budget = budget
        self.alphabet = alphabet
        self.kind: list[Kind] = []
        self.args: list[tuple[Any, ...]] = []
        self.nullable: list[bool] = []
        self.boolean: list[bool] = []
        self.rule_body: dict[int, int] = {}
        self._index: dict[tuple[Any, ...], int] = {}
        self._intern(Kind.EMPTY, (), False, False)
        self._intern(Kind.EPSILON, (), True, False)
        self._intern(Kind.NOT, (EMPTY,), True, False)

    def __len__(self) -> int:
        return len(self.kind)

    def _intern(self, kind: Kind, args: tuple[Any, ...], nullable: bool, boolean: bool) -> int:
        key = (kind._value_, *args)  # plain values, so that the garbage collector ignores it
        found = self._index.get(key)
        if found is not None:
            return found
        self.budget.spend_expression()
        self._index[key] = new = len(self.kind)
        self.kind.append(kind)
        self.args.append(args)
        self.nullable.append(nullable)
        self.boolean.append(boolean)
        return new

    # ---- leaves

    def symbol_set(self, mask: int) -> int:
        """One symbol of `mask`; bytes outside the alphabet are dropped."""
        mask &= self.alphabet | ~EVERY_BYTE
        return self._intern(Kind.SET, (mask,), False, False) if mask else EMPTY

    def literal(self, data: bytes, offset: int = 0) -> int:
        """Exactly data[offset:]; the alphabet must have its bytes. O(1) but for short tails."""
        left = len(data) - offset
        if left < 2:
            return self.symbol_set(1 << data[offset]) if left else EPSILON
        if left <= _SHARED_TAIL and offset:
            data, offset = data[offset:], 0
        return self._intern(Kind.LITERAL, (data, offset), False, False)

    def rule(self, key: Hashable, nullable: bool) -> int:
        """A rule that matches something; set `rule_body` before taking derivatives.

        key: equal keys are the same rule, so they must have the same body.
        """
        return self._intern(Kind.RULE, (key,), nullable, False)

    # ---- sequence

    def cat(self, first: int, rest: int) -> int:
        """first, then rest. O(number of factors of `first`)."""
        if first == EMPTY or rest == EMPTY:
            return EMPTY
        if first == EPSILON or rest == EPSILON:
            return rest if first == EPSILON else first
        if self.kind[first] is not Kind.CAT:
            nullable = self.nullable[first] and self.nullable[rest]
            boolean = self.boolean[first] or self.boolean[rest]
            return self._intern(Kind.CAT, (first, rest), nullable, boolean)
        heads = []
        while self.kind[first] is Kind.CAT:
            head, first = self.args[first]
            heads.append(head)
        heads.append(first)
        for head in reversed(heads):
            nullable = self.nullable[head] and self.nullable[rest]
            boolean = self.boolean[head] or self.boolean[rest]
            rest = self._intern(Kind.CAT, (head, rest), nullable, boolean)
        return rest

    def split(self, e: int) -> tuple[int, int]:
        """Head and tail of a sequence; anything else is its own head."""
        if self.kind[e] is Kind.CAT:
            head, tail = self.args[e]
            return head, tail
        return e, EPSILON

    def repeat(self, item: int, lo: int, hi: int | None) -> int:
        """lo to hi copies of item."""
        if hi == 0 or item == EPSILON:
            return EPSILON
        if item == EMPTY:
            return EPSILON if lo == 0 else EMPTY
        if self.nullable[item]:
            lo = 0  # a copy may be empty
        if (lo, hi) == (1, 1) or item == ALL:
            return item
        if hi is None and lo == 0:
            if self.kind[item] is Kind.SET and self.args[item][0] == self.alphabet:
                return ALL
            if self.kind[item] is Kind.REPEAT and self.args[item][1] == 0:
                item = self.args[item][0]
        return self._intern(Kind.REPEAT, (item, lo, hi), lo == 0, self.boolean[item])

    # ---- union

    def alt(self, items: Iterable[int]) -> int:
        """Any of the items."""
        return self._alt(items, _FACTOR_DEPTH)

    def _alt(self, items: Iterable[int], depth: int) -> int:
        parts: set[int] = set()
        mask = 0
        for item in items:
            for part in self.args[item] if self.kind[item] is Kind.ALT else (item,):
                if self.kind[part] is Kind.SET:
                    mask |= self.args[part][0]
                else:
                    parts.add(part)
        parts.discard(EMPTY)
        if mask:
            parts.add(self.symbol_set(mask))
        if len(parts) > 1:
            self._merge_counters(parts)
            if depth:
                self._factor_heads(parts, depth)
        if ALL in parts:
            return ALL
        if len(parts) > 1 and any(self.nullable[part] for part in parts if part != EPSILON):
            parts.discard(EPSILON)
        if len(parts) < 2:
            return parts.pop() if parts else EMPTY
        nullable = any(self.nullable[part] for part in parts)
        boolean = any(self.boolean[part] for part in parts)
        return self._intern(Kind.ALT, tuple(sorted(parts)), nullable, boolean)

    def _merge_counters(self, parts: set[int]) -> None:
        """x{1,3}t | x{2,9}t is x{1,9}t: keeps counted loops from spreading over many items."""
        groups: dict[tuple[int, int], list[int]] = {}
        for part in parts:
            head, tail = self.split(part)
            if self.kind[head] is Kind.REPEAT:
                groups.setdefault((self.args[head][0], tail), []).append(part)
        for (item, tail), members in groups.items():
            ranges = [self.args[self.split(member)[0]][1:] for member in members]
            if tail == EPSILON and EPSILON in parts:
                ranges.append((0, 0))
            merged = _merge_ranges(ranges)
            if len(merged) < len(ranges):
                parts.difference_update(members)
                parts.update(self.cat(self.repeat(item, lo, hi), tail) for lo, hi in merged)

    def _factor_heads(self, parts: set[int], depth: int) -> None:
        """xs | xt is x(s|t): the sequences of one head go on as one."""
        groups: dict[int, list[int]] = {}
        for part in parts:
            groups.setdefault(self.split(part)[0], []).append(part)
        for head, members in groups.items():
            if len(members) > 1:
                parts.difference_update(members)
                tails = [self.split(member)[1] for member in members]
                parts.add(self.cat(head, self._alt(tails, depth - 1)))

    # ---- intersection and complement

    def both(self, items: Iterable[int]) -> int:
        """All of the items at once. It may be an empty language that is not EMPTY: see liveness."""
        items = tuple(items)
        if len(items) == 1:
            return items[0]
        parts: set[int] = set()
        for item in items:
            parts.update(self.args[item] if self.kind[item] is Kind.AND else (item,))
        parts.discard(ALL)
        sets = [part for part in parts if self.kind[part] is Kind.SET]
        if len(sets) > 1:
            mask = -1
            for part in sets:
                mask &= self.args[part][0]
            parts.difference_update(sets)
            parts.add(self.symbol_set(mask))
        nullable = all(self.nullable[part] for part in parts)
        refused = {self.args[part][0] for part in parts if self.kind[part] is Kind.NOT}
        if EMPTY in parts or refused & parts:
            return EMPTY
        if EPSILON in parts:
            return EPSILON if nullable else EMPTY
        if len(parts) < 2:
            return parts.pop() if parts else ALL
        return self._intern(Kind.AND, tuple(sorted(parts)), nullable, not nullable)

    def without_complements(self, e: int) -> int:
        """A for A & ~B, a language around that of e; e itself if it is no such thing."""
        if self.kind[e] is not Kind.AND:
            return e
        return self.both(part for part in self.args[e] if self.kind[part] is not Kind.NOT)

    def complement(self, item: int) -> int:
        """Every byte string that item does not match."""
        if item == ALL:
            return EMPTY
        if self.kind[item] is Kind.NOT:
            inner: int = self.args[item][0]
            return inner
        if item == EMPTY:
            return ALL
        nullable = not self.nullable[item]
        return self._intern(Kind.NOT, (item,), nullable, not nullable)


def _merge_ranges(ranges: list[tuple[int, int | None]]) -> list[tuple[int, int | None]]:
    """Join ranges of counts that overlap or touch; None is no upper bound."""
    merged: list[tuple[int, int | None]] = []
    for lo, hi in sorted(ranges, key=lambda each: each[0]):
        if merged:
            last_lo, last_hi = merged[-1]
            if last_hi is None or lo <= last_hi + 1:
                top = None if last_hi is None or hi is None else max(last_hi, hi)
                merged[-1] = (last_lo, top)
                continue
        merged.append((lo, hi))
    return merged


def resolve(
    root: int,
    memo: dict[int, T],
    operands: Callable[[int], Iterable[int]],
    combine: Callable[[int], T],
) -> T:
    """memo[root], after filling in whatever it needs: recursion on a stack of our own.

    `operands(e)` must be in `memo` before `combine(e)` is called; there must be no cycles.
    """
    stack = [root]
    while stack:
        top = stack[-1]
        if top not in memo:
            missing = [e for e in operands(top) if e not in memo]
            if missing:
                stack.extend(missing)
                continue
            memo[top] = combine(top)
        stack.pop()
    return memo[root]
