"""Values that are no containers: null, booleans, numbers, strings, and the members of an enum."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

from sestina.lang.errors import ConstraintError, UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, seq, times
from sestina.lang.grammar_ir import NOTHING, And, Expr, Literal, Not
from sestina.lang.json_schema import layout as layouts
from sestina.lang.json_schema import string as strings
from sestina.lang.json_schema import values
from sestina.lang.json_schema.divisible import (
    MAX_DIVISOR,
    MAX_RESIDUES,
    is_integral,
    listed,
    multiples,
    no_fraction,
    residue_rules,
)
from sestina.lang.json_schema.formats import FORMATS, insides
from sestina.lang.json_schema.key_classes import inside
from sestina.lang.json_schema.keywords import Schema, bounds_of, size, step_of, tupled
from sestina.lang.json_schema.layout import Layout
from sestina.lang.json_schema.number import DIGIT, MINUS, NONZERO, POINT, ZERO, integer, number

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
    bounds = bounds_of(schema)
    leaves = schema.get("not", ())
    if any("type" in leaf for leaf in leaves):
        return NOTHING
    found = integer(bounds)
    if is_nothing(found):
        return NOTHING
    steps = [step_of(leaf) for leaf in leaves if "multipleOf" in leaf]
    parts = [found, *(Not(_divisible(step, pointer, is_negated=True)) for step in steps)]
    if "multipleOf" in schema:
        step = _integer_step(step_of(schema))
        if bounds.is_free and not steps and MAX_RESIDUES < step <= MAX_DIVISOR:
            return _by_rules(compiler, int(step))
        few = listed(step, bounds)
        parts.append(few if few is not None else _divisible(step, pointer))
        if few is not None and is_nothing(few):
            return NOTHING
        if bounds.is_free or few is not None:
            parts.remove(found)
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def lower_number(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    bounds = bounds_of(schema)
    leaves = schema.get("not", ())
    if "multipleOf" in schema and is_integral(step_of(schema)):
        return seq(lower_integer(compiler, schema, pointer, layout), no_fraction())
    found = number(bounds)
    if is_nothing(found):
        return NOTHING
    parts = [found]
    if "multipleOf" in schema:
        parts.append(_divisible(step_of(schema), pointer))
    if any("type" in leaf for leaf in leaves):
        parts.append(_fractions())
    steps = [step_of(leaf) for leaf in leaves if "multipleOf" in leaf]
    if steps and not all(map(is_integral, steps)):
        _refuse("the negation of a multipleOf that is no integer", pointer)
    if steps:  # an integer that is no multiple, or no integer at all
        whole = And(
            (integer(bounds), *(Not(_divisible(s, pointer, is_negated=True)) for s in steps))
        )
        if any("type" in leaf for leaf in leaves):
            return And(tuple(parts))
        return either([whole, And((*parts, _fractions()))])
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _by_rules(compiler: Compiler, step: int) -> Expr:
    """All multiples of an integer."""
    found = multiples(Decimal(step))
    if found is None and not compiler.is_inlining:
        found, rules = residue_rules(step)
        compiler.rules.update(rules)
    return found if found is not None else NOTHING


def _integer_step(step: Decimal) -> Decimal:
    """The least integer of which the integers among the multiples of `step` are multiples."""
    numerator, _ = step.as_integer_ratio()
    return Decimal(numerator)


def _divisible(step: Decimal, pointer: str, *, is_negated: bool = False) -> Expr:
    found = multiples(_integer_step(step) if is_negated else step)
    if found is None:
        _refuse(f"multipleOf {step}, which needs too many states", pointer)
    return found


def _fractions() -> Expr:
    """Decimals that are no integers, nor are read as one: at most 15 significant digits."""
    whole = either([ZERO, seq(NONZERO, times(DIGIT, 0, 6))])
    return seq(times(MINUS, 0, 1), whole, POINT, times(DIGIT, 0, 7), NONZERO)


def _refuse(message: str, pointer: str) -> NoReturn:
    raise UnsupportedConstraint(message, pointer=pointer, keyword="multipleOf")


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
