"""Arrays: items by position and number, with `contains`, and `uniqueItems` of a few constants."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NoReturn

from sestina.lang import json_text
from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, Expr
from sestina.lang.json_schema import layout as layouts
from sestina.lang.json_schema.keywords import Schema, count, size
from sestina.lang.json_schema.layout import Layout
from sestina.lang.json_schema.merge import tuple_items
from sestina.lang.json_schema.refs import child

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_STATES = 1024


def lower_array(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    low, high = size(schema, "minItems", "maxItems")
    if high is not None and low > high:
        return NOTHING
    is_unique = schema.get("uniqueItems", False) and (high is None or high > 1)
    if "contains" in schema:
        if is_unique:
            _refuse("uniqueItems beside contains", pointer, "uniqueItems")
        return _containing(compiler, schema, pointer, layout)
    if is_unique:
        return _distinct(compiler, schema, pointer, layout)
    first, rest = tuple_items(schema)
    inner = layout.inner()
    where = "items" if isinstance(schema.get("items"), list) else "prefixItems"
    items: list[Expr] = []
    for i, item in enumerate(first[:high]):
        expr = compiler.schema(item, child(pointer, where, i), inner)
        if is_nothing(expr):  # the array must end before it
            high = i
            break
        items.append(expr)
    others: Expr = NOTHING
    if high is None or high > len(items):
        others = compiler.schema(rest, child(pointer, "items"), inner)
    return layouts.array(items, others, low, high, layout)


def _distinct(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    """Items that are all different, out of finitely many: a state for each set of those taken."""
    low, high = size(schema, "minItems", "maxItems")
    first, rest = tuple_items(schema)
    values = compiler.constants(rest, child(pointer, "items"))
    if rest is False:
        values = []
    if values is None or first:
        _refuse("uniqueItems of items that are not a few constants", pointer, "uniqueItems")
    inner, comma = layout.inner(), layout.comma
    different: list[list[Any]] = []
    for value in values:
        same = next((group for group in different if json_text.equal(group[0], value)), None)
        if same is None:
            different.append([value])
        else:
            same.append(value)
    texts = [either(layouts.constant(v, inner) for v in group) for group in different]
    most = len(texts) if high is None else min(high, len(texts))
    num_states = 0

    @functools.cache
    def after(taken: int, num_taken: int) -> Expr:
        nonlocal num_states
        num_states += 1
        if num_states > MAX_STATES:
            _refuse("uniqueItems of so many constants", pointer, "uniqueItems")
        end = EPSILON if num_taken >= max(low, 1) else NOTHING
        if num_taken == most:
            return end
        more = [
            seq(comma if num_taken else EPSILON, text, after(taken | 1 << i, num_taken + 1))
            for i, text in enumerate(texts)
            if not taken >> i & 1
        ]
        return either([end, *more])

    body = after(0, 0) if most else NOTHING
    if is_nothing(body) and low:
        return NOTHING
    return layout.container(b"[]", body, may_be_empty=low == 0)


def _containing(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    """Arrays with enough and not too many items valid under `contains`.

    A state for each position that matters and each number of such items. Without an upper bound an
    item valid under it may also be passed over: some run counts enough of them.
    """
    low, high = size(schema, "minItems", "maxItems")
    least = count(schema.get("minContains", 1))
    most = count(schema["maxContains"]) if "maxContains" in schema else None
    first, rest = tuple_items(schema)
    where, inner, comma = child(pointer, "contains"), layout.inner(), layout.comma
    last = max(len(first), low) if high is None else high  # from here on all positions are alike
    top = least if most is None else most
    if (last + 1) * (top + 1) > MAX_STATES or last > 200:
        _refuse("contains with such large bounds", pointer, "contains")

    def lowered(item: Any, extra: Any) -> Expr:
        return compiler.schema(compiler.both(item, extra), where, inner)

    wanted = schema["contains"]
    unwanted: Any = True if most is None else compiler.negation(wanted, where)
    places = [*first, rest][: last + 1]
    hits = [lowered(item, wanted) for item in places]
    misses = [lowered(item, unwanted) for item in places]

    @functools.cache
    def after(i: int, held: int, is_first: bool) -> Expr:
        """The rest of an array of which i items stand, `held` of them valid under contains."""
        end = EPSILON if i >= low and held >= least and not is_first else NOTHING
        if high is not None and i >= high:
            return end
        place = min(i, len(places) - 1)
        before = EPSILON if is_first else comma
        if i < last or is_first:
            hit = seq(before, hits[place], after(i + 1, min(held + 1, top), False))
            miss = seq(before, misses[place], after(i + 1, held, False))
            may_hit = most is None or held < most
            return either([end, hit if may_hit else NOTHING, miss])
        many = times(seq(comma, misses[place]), 0, None)
        if held == top:
            return seq(many, end)
        return seq(many, either([end, seq(comma, hits[place], after(i, held + 1, False))]))

    body = after(0, 0, True)
    may_be_empty = low == 0 and least == 0
    if is_nothing(body) and not may_be_empty:
        return NOTHING
    return layout.container(b"[]", body, may_be_empty=may_be_empty)


def _refuse(message: str, pointer: str, keyword: str) -> NoReturn:
    raise UnsupportedConstraint(message, pointer=pointer, keyword=keyword)
