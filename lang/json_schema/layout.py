"""Where whitespace may stand in generated JSON, and whether properties have an order."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sestina.lang import json_text
from sestina.lang.errors import ConstraintLimitExceeded, InvalidConstraint
from sestina.lang.expr import either, is_nothing, joined, maybe, seq, times
from sestina.lang.grammar_ir import (
    EPSILON,
    NOTHING,
    ByteSet,
    Expr,
    Literal,
    Part,
    literal,
    optional,
)
from sestina.lang.json_schema import number
from sestina.lang.json_schema.any_order import any_order
from sestina.lang.json_schema.fuel import Fuel
from sestina.lang.json_schema.string import quoted

DEFAULT_ANY = 20
MAX_ANY = 1000
MAX_INDENT = 16
MAX_INDENT_DEPTH = 64

_WHITESPACE = ByteSet(1 << 0x20 | 1 << 0x09 | 1 << 0x0A | 1 << 0x0D)


_BRACKETS = MappingProxyType(
    {both: (Literal(both[:1]), Literal(both[1:])) for both in (b"{}", b"[]")}
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the punctuation of one object or array is written.

    comma, colon: the separators. after_open, before_close: around a non-empty body. gap: between
    the brackets of an empty one. indent: spaces a level, 0 where nothing depends on the depth.
    any_order: properties may come in any order, not only as they are declared. fuel: what all
    orders of a schema may take.
    """

    comma: Expr
    colon: Expr
    after_open: Expr = EPSILON
    before_close: Expr = EPSILON
    gap: Expr = EPSILON
    indent: int = 0
    depth: int = 0
    any_order: bool = False
    fuel: Fuel = field(default_factory=Fuel, compare=False)

    def inner(self) -> Layout:
        """The layout of what is nested inside."""
        if not self.indent:
            return self
        below = _indented(self.indent, self.depth + 1)
        return replace(below, any_order=self.any_order, fuel=self.fuel)

    def container(self, brackets: bytes, body: Expr, *, may_be_empty: bool) -> Expr:
        """An object or array around a non-empty `body` (NOTHING: there is none)."""
        opening, closing = _BRACKETS[brackets]
        if may_be_empty and not self.indent and not is_nothing(body):
            inside = maybe(seq(body, self.before_close))
            return seq(opening, self.after_open, inside, closing)
        full = seq(opening, self.after_open, body, self.before_close, closing)
        return either([full, seq(opening, self.gap, closing)]) if may_be_empty else full


def array(items: Sequence[Expr], others: Expr, low: int, high: int | None, layout: Layout) -> Expr:
    """Arrays of low to high items: the first ones as in `items`, all further ones `others`.

    Fewer items than `items` are fine if `low` says so. Size O(n log n), depth O(log n), and
    counted repeats are not unrolled.
    """
    if is_nothing(others):
        high = len(items) if high is None else min(high, len(items))
    items = items[:high]
    num_first = len(items)
    if high is not None and low > high:
        return NOTHING
    if high == 0:
        return layout.container(b"[]", NOTHING, may_be_empty=True)
    least = max(low, 1)
    more_high = None if high is None else high - max(num_first, 1)
    more = times(seq(layout.comma, others), max(least - max(num_first, 1), 0), more_high)
    if not num_first:
        body = seq(others, more)
    else:
        tail = [seq(layout.comma, item) for item in items[1:]]
        needed, optional_ = tail[: least - 1], tail[least - 1 :]
        ends = either([_prefixes(optional_), seq(*optional_, more)]) if optional_ else more
        body = seq(items[0], *needed, ends)
    return layout.container(b"[]", body, may_be_empty=low == 0)


def constant(value: Any, layout: Layout) -> Expr:
    """Exactly this JSON value: strings canonically spelled, numbers in any spelling of their
    value, keys in order unless the layout has any order."""
    if isinstance(value, dict):
        inner = layout.inner()
        pairs = [seq(quoted(k), layout.colon, constant(v, inner)) for k, v in value.items()]
        if not pairs:
            return layout.container(b"{}", NOTHING, may_be_empty=True)
        if layout.any_order:
            parts = [Part(pair, required=True) for pair in pairs]
            body = any_order(parts, layout.comma)
        else:
            body, _ = joined([(pair, False) for pair in pairs], layout.comma)
        return layout.container(b"{}", body, may_be_empty=False)
    if isinstance(value, list):
        items = [constant(item, layout.inner()) for item in value]
        return array(items, NOTHING, len(items), len(items), layout)
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return number.constant(value)
    return literal(json_text.scalar(value))


def _prefixes(items: Sequence[Expr]) -> Expr:
    """The sequences of the first 0, 1, ... of `items`, but not all of them."""
    if not items:
        return NOTHING
    if len(items) == 1:
        return EPSILON
    middle = len(items) // 2
    left, right = items[:middle], items[middle:]
    return either([_prefixes(left), seq(*left, _prefixes(right))])


def _indented(indent: int, depth: int) -> Layout:
    if depth > MAX_INDENT_DEPTH:
        raise ConstraintLimitExceeded(
            f"whitespace 'indent' nested deeper than {MAX_INDENT_DEPTH}; recursive schemas and "
            "parts that allow any JSON value need another whitespace mode"
        )
    begin = Literal(b"\n" + b" " * indent * (depth + 1))
    end = Literal(b"\n" + b" " * indent * depth)
    return Layout(seq(Literal(b","), begin), Literal(b": "), begin, end, indent=indent, depth=depth)


def _padded(count: int) -> Layout:
    pad = times(_WHITESPACE, 0, count)
    return Layout(seq(pad, Literal(b","), pad), seq(pad, Literal(b":"), pad), pad, pad, gap=pad)


def _spaced(_: int) -> Layout:
    space = optional(Literal(b" "))
    return Layout(seq(Literal(b","), space), seq(Literal(b":"), space))


def _compact(_: int) -> Layout:
    return Layout(Literal(b","), Literal(b":"))


_MODES: Mapping[str, tuple[Callable[[int], Layout], int, int, int]] = MappingProxyType(
    {  # what builds it, its default number, smallest and largest
        "compact": (_compact, 0, 0, 0),
        "spaced": (_spaced, 0, 0, 0),
        "any": (_padded, DEFAULT_ANY, 1, MAX_ANY),
        "indent": (lambda n: _indented(n, 0), 0, 1, MAX_INDENT),
    }
)


PROPERTY_ORDERS = ("declared", "any")


def parse(whitespace: str, property_order: str = "declared") -> Layout:
    """The layout named "compact", "spaced", "any", "any(n)" or "indent(n)", its fuel untouched."""
    return replace(_parsed(whitespace, property_order), fuel=Fuel())


@functools.lru_cache(maxsize=64)
def _parsed(whitespace: str, property_order: str) -> Layout:
    if property_order not in PROPERTY_ORDERS:
        raise InvalidConstraint(
            f"unknown property_order {property_order!r}; known: {', '.join(PROPERTY_ORDERS)}"
        )
    matched = re.fullmatch(r"([a-z]+)(?:\((\d{1,6})\))?", whitespace)
    if matched is None or matched[1] not in _MODES:
        raise InvalidConstraint(
            f"unknown whitespace {whitespace!r}; known: compact, spaced, any, any(n), indent(n)"
        )
    build, default, low, high = _MODES[matched[1]]
    count = int(matched[2]) if matched[2] is not None else default
    if not low <= count <= high or (matched[2] is not None and not high):
        raise InvalidConstraint(f"whitespace {whitespace!r}: needs a number from {low} to {high}")
    layout = build(count)
    return replace(layout, any_order=True) if property_order == "any" else layout
