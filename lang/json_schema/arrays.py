"""Arrays: items by position and number; `containing` and `distinct` have the keywords for more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sestina.lang.expr import is_nothing
from sestina.lang.grammar_ir import NOTHING, Expr
from sestina.lang.json_schema import layout as layouts
from sestina.lang.json_schema.containing import lower_containing
from sestina.lang.json_schema.distinct import lower_distinct, refuse
from sestina.lang.json_schema.keywords import Schema, size
from sestina.lang.json_schema.layout import Layout
from sestina.lang.json_schema.merge import tuple_items
from sestina.lang.json_schema.refs import child

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler


def lower_array(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    low, high = size(schema, "minItems", "maxItems")
    if high is not None and low > high:
        return NOTHING
    is_unique = schema.get("uniqueItems", False) and (high is None or high > 1)
    if "contains" in schema:
        if is_unique:
            refuse("uniqueItems beside contains", pointer)
        return lower_containing(compiler, schema, pointer, layout)
    if is_unique:
        return lower_distinct(compiler, schema, pointer, layout)
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
