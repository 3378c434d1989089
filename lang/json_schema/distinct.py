"""`uniqueItems`: arrays whose items are all different, where that is a regular language.

A value of finitely many is remembered once it was taken, as a bit. Items of other values are told
apart by what they are: two such positions must exclude each other.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, seq
from sestina.lang.grammar_ir import EPSILON, NOTHING, Expr, Part
from sestina.lang.json_schema import layout as layouts
from sestina.lang.json_schema.any_order import any_order
from sestina.lang.json_schema.finite import finite_values, identity
from sestina.lang.json_schema.keywords import Schema, size
from sestina.lang.json_schema.layout import Layout
from sestina.lang.json_schema.merge import tuple_items
from sestina.lang.json_schema.refs import child

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_POSITIONS = 64

Groups = list[list[Any]]
"""Constants, equal ones together."""


def lower_distinct(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    """Arrays of different items; UnsupportedConstraint where no finite memory can tell them."""
    low, high = size(schema, "minItems", "maxItems")
    first, rest = tuple_items(schema)
    groups = finite_values(compiler, rest, child(pointer, "items"))
    if not first and groups is not None:
        texts = [_texts(group, layout.inner()) for group in groups]
        parts = map(Part, texts)
        body = any_order(parts, layout.comma, max(low, 1), high)
        return _array(body, low, layout)
    num_more = None if high is None else high - len(first)
    if groups is not None:
        num_more = len(groups) if num_more is None else min(num_more, len(groups))
    if num_more is None or (groups is None and num_more > 1):
        refuse("uniqueItems of items that are not a few constants", pointer)
    schemas = [*first[:high], *([rest] * num_more)]
    if len(schemas) > MAX_POSITIONS:
        refuse("uniqueItems of so many different items", pointer)
    return _Positions(compiler, schemas, pointer, layout).lower(low)


def refuse(message: str, pointer: str) -> NoReturn:
    raise UnsupportedConstraint(message, pointer=pointer, keyword="uniqueItems")


def _array(body: Expr, low: int, layout: Layout) -> Expr:
    if is_nothing(body) and low:
        return NOTHING
    return layout.container(b"[]", body, may_be_empty=low == 0)


def _texts(group: list[Any], layout: Layout) -> Expr:
    return either(layouts.constant(value, layout) for value in group)


class _Choice(NamedTuple):
    """One way to fill a position: with the constant of bit `bit`, or (0) with none of them."""

    bit: int
    text: Expr


class _Positions:
    """A tuple of different items, each with a schema of its own."""

    def __init__(
        self, compiler: Compiler, schemas: list[Any], pointer: str, layout: Layout
    ) -> None:
        self.compiler = compiler
        self.pointer = pointer
        self.layout = layout
        self.bits: dict[Any, int] = {}  # by the identity of a constant
        self.constants: list[Any] = []
        self.finite = [finite_values(compiler, s, child(pointer, "items")) for s in schemas]
        for group in (g for groups in self.finite if groups is not None for g in groups):
            self.bits.setdefault(identity(group[0]), 1 << len(self.bits))
            self.constants += group
        self.choices = [self.choices_of(i, s) for i, s in enumerate(schemas)]
        self.check_others(schemas)

    def choices_of(self, i: int, schema: Any) -> list[_Choice]:
        """The constants that the schema allows, and all its other values as one choice."""
        groups, inner = self.finite[i], self.layout.inner()
        if groups is not None:
            return [_Choice(self.bits[identity(g[0])], _texts(g, inner)) for g in groups]
        where = child(self.pointer, "items")
        if not self.constants:
            return [_Choice(0, self.compiler.schema(schema, where, inner))]
        known = self.compiler.both(schema, {"enum": self.constants})
        other = self.compiler.both(schema, {"not": {"enum": self.constants}})
        found = [_Choice(0, self.compiler.schema(other, where, inner))]
        groups = finite_values(self.compiler, known, where) or []
        return found + [_Choice(self.bits[identity(g[0])], _texts(g, inner)) for g in groups]

    def check_others(self, schemas: list[Any]) -> None:
        """Refuse unless two positions never hold the same value beyond the constants."""
        open_ones = [s for s, groups in zip(schemas, self.finite, strict=True) if groups is None]
        for a, b in combinations(open_ones, 2):
            if self.compiler.overlapping([a, b], self.pointer, self.compiler.any_json):
                refuse("uniqueItems of items that are not a few constants", self.pointer)

    def lower(self, low: int) -> Expr:
        """Arrays of at least `low` items; a state for each set of constants taken so far."""
        levels = [[0]]
        for choices in self.choices:
            taken = (t | c.bit for t in levels[-1] for c in choices if not t & c.bit)
            levels.append(list(dict.fromkeys(taken)))
            self.layout.fuel.burn(len(levels[-2]) * len(choices), "uniqueItems")
        end: Expr = EPSILON if len(self.choices) >= low else NOTHING
        after = dict.fromkeys(levels[-1], end)
        for i in range(len(self.choices) - 1, -1, -1):
            before = self.layout.comma if i else EPSILON
            pairs = [(c.bit, seq(before, c.text)) for c in self.choices[i]]
            end = EPSILON if i and i >= low else NOTHING
            after = {
                taken: either([end, *(seq(p, after[taken | b]) for b, p in pairs if not taken & b)])
                for taken in levels[i]
            }
        return _array(after[0] if self.choices else NOTHING, low, self.layout)
