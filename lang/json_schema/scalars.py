"""Values that are no containers: null, booleans, numbers, strings, and the members of an enum."""

from __future__ import annotations

import functools
from decimal import Decimal
from typing import TYPE_CHECKING

from sestina.lang.errors import ConstraintError
from sestina.lang.expr import either, is_nothing, seq
from sestina.lang.grammar_ir import NOTHING, Alt, And, Expr, Literal, Not
from sestina.lang.json_schema import divisible, values
from sestina.lang.json_schema import layout as layouts
from sestina.lang.json_schema import string as strings
from sestina.lang.json_schema.formats import (
    FORMATS,
    RECURSIVE_FORMATS,
    insides,
    regular_insides,
    rules,
)
from sestina.lang.json_schema.key_classes import inside
from sestina.lang.json_schema.keywords import Schema, bounds_of, size, step_of, tupled
from sestina.lang.json_schema.layout import Layout

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler


# The same object each time, so that a runtime can tell that it is the same.
_NULL = Literal(b"null")
_BOOLEAN = Alt((Literal(b"true"), Literal(b"false")))


def lower_null(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    return _NULL


def lower_boolean(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    return _BOOLEAN


def lower_members(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    """The members of enum / const that the other keywords of the schema allow."""
    found = values.members(compiler, schema, pointer)
    return either(layouts.constant(member, layout) for member in found)


# ---- numbers ----------------------------------------------------------------------------------


def lower_integer(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    return _numbers(compiler, schema, pointer, is_integer=True)


def lower_number(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    return _numbers(compiler, schema, pointer, is_integer=False)


def _numbers(compiler: Compiler, schema: Schema, pointer: str, *, is_integer: bool) -> Expr:
    leaves = schema.get("not", ())
    excluded = [step_of(leaf) for leaf in leaves if "multipleOf" in leaf]
    if any("type" in leaf for leaf in leaves):  # not an integer, not a multiple of 1
        excluded.append(Decimal(1))
    demands = divisible.Demands(
        bounds_of(schema),
        step_of(schema) if "multipleOf" in schema else None,
        tuple(excluded),
        is_integer,
        is_plain=is_integer and values.is_draft_4(compiler),
    )
    found = divisible.lower(demands)
    compiler.rules.update(found.rules)
    return found.expr


# ---- strings ----------------------------------------------------------------------------------


def lower_string(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    low, high = size(schema, "minLength", "maxLength")
    formats = [name for name in tupled(schema.get("format", ())) if name in FORMATS]
    if not RECURSIVE_FORMATS.isdisjoint(formats):
        compiler.rules.update(rules())
    leaves = schema.get("not", ())
    try:
        return _strings(
            low,
            high,
            tuple(formats),
            tupled(schema.get("pattern", ())),
            tuple(value for leaf in leaves for value in leaf.get("enum", ())),
            tuple(leaf["pattern"] for leaf in leaves if "pattern" in leaf),
            is_name=compiler.is_inlining,
        )
    except ConstraintError as error:
        raise located(error, pointer, "pattern") from None


@functools.lru_cache(maxsize=1024)
def _strings(
    low: int,
    high: int | None,
    formats: tuple[str, ...],
    patterns: tuple[str, ...],
    other_than: tuple[str, ...],
    not_matching: tuple[str, ...],
    *,
    is_name: bool,
) -> Expr:
    """Strings of low to high characters, of all formats and patterns but for some others.

    is_name: whether they will be part of other intersections, where no rule has a place.
    """
    if high is not None and high < low:
        return NOTHING
    is_alone = not (is_name or low or patterns or other_than or not_matching or len(formats) > 1)
    lower_format = insides if is_alone and high is None else regular_insides
    parts = [expr for name in formats for expr in lower_format(name)]
    parts += [inside(pattern) for pattern in patterns]
    excluded: list[Expr] = [Literal(strings.quoted(value).data[1:-1]) for value in other_than]
    excluded += [inside(pattern, widest=True) for pattern in not_matching]
    if not parts and not excluded:
        return strings.free(low, high)
    if low or high is not None or not parts:
        parts.append(strings.canonical_length(low, high))
    if any(map(is_nothing, parts)):
        return NOTHING
    if excluded:
        parts.append(Not(either(excluded)))
    text = parts[0] if len(parts) == 1 else And(tuple(parts))
    return seq(strings.QUOTE, text, strings.QUOTE)


def located(error: ConstraintError, pointer: str, keyword: str | None) -> ConstraintError:
    """The same error, at a place in the schema."""
    return type(error)(
        error.reason,
        pointer=pointer,
        keyword=keyword,
        source=error.source,
        position=error.position,
    )
