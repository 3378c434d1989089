"""Values that are no containers: null, booleans, numbers, strings, and the members of an enum."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sestina.lang.errors import ConstraintError
from sestina.lang.expr import either, is_nothing, seq
from sestina.lang.grammar_ir import NOTHING, And, Expr, Literal, Not
from sestina.lang.json_schema import divisible, values
from sestina.lang.json_schema import layout as layouts
from sestina.lang.json_schema import string as strings
from sestina.lang.json_schema.formats import FORMATS, insides
from sestina.lang.json_schema.key_classes import inside
from sestina.lang.json_schema.keywords import Schema, bounds_of, size, step_of, tupled
from sestina.lang.json_schema.layout import Layout

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler


def lower_null(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    return Literal(b"null")


def lower_boolean(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    return either([Literal(b"true"), Literal(b"false")])


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
    found = divisible.lower(demands, pointer)
    compiler.rules.update(found.rules)
    return found.expr


# ---- strings ----------------------------------------------------------------------------------


def lower_string(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    low, high = size(schema, "minLength", "maxLength")
    if high is not None and high < low:
        return NOTHING
    names = [name for name in tupled(schema.get("format", "")) if name in FORMATS]
    parts = [expr for name in names for expr in insides(name)]
    if "pattern" in schema:
        parts += [_pattern(p, pointer) for p in tupled(schema["pattern"])]
    excluded = [e for leaf in schema.get("not", ()) for e in _excluded(leaf, pointer)]
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


def _excluded(leaf: Schema, pointer: str) -> list[Expr]:
    """The insides of the strings that a residual `not` leaves out."""
    found: list[Expr] = [Literal(strings.quoted(v).data[1:-1]) for v in leaf.get("enum", ())]
    if "pattern" in leaf:
        found.append(_pattern(leaf["pattern"], pointer, widest=True))
    return found


def _pattern(pattern: str, pointer: str, *, widest: bool = False) -> Expr:
    try:
        return inside(pattern, widest=widest)
    except ConstraintError as error:
        raise located(error, pointer, "pattern") from None


def located(error: ConstraintError, pointer: str, keyword: str | None) -> ConstraintError:
    """The same error, at a place in the schema."""
    return type(error)(
        error.reason,
        pointer=pointer,
        keyword=keyword,
        source=error.source,
        position=error.position,
    )
