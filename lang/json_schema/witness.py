"""Objects that need a property which breaks a rule: what `not` leaves of rules for all properties.

The negation of patternProperties, additionalProperties or propertyNames is that some property is
not as they say. A residual `not` holds them as a leaf; here it becomes an alternative: each
declared property may be that one, or an extra property is (`breaches`).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.expr import either, seq
from sestina.lang.grammar_ir import And, Expr, Not
from sestina.lang.json_schema import values
from sestina.lang.json_schema.breaches import MAX_BREACHES, Breach
from sestina.lang.json_schema.finite import plain_constants
from sestina.lang.json_schema.key_classes import inside, is_match
from sestina.lang.json_schema.keywords import Schema
from sestina.lang.json_schema.layout import Layout
from sestina.lang.json_schema.objects import key_language, lower_object
from sestina.lang.json_schema.string import QUOTE, any_key_except

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_WAYS = 100


class Way(NamedTuple):
    """A schema of objects without the leaves, and those that extra properties have to break."""

    schema: Any
    by_extra: list[Schema]


def needs_witness(schema: Schema) -> bool:
    return any(map(_is_about_properties, schema.get("not", ())))


def _is_about_properties(leaf: Schema) -> bool:
    """Whether this is a leaf about all properties, other than names outside a list (`objects`)."""
    if "propertyNames" in leaf:
        return bool(leaf["propertyNames"].keys() != {"enum"})
    return "patternProperties" in leaf or "additionalProperties" in leaf


def lower_witnessed(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    found: list[Way] = compiler.once("ways", (schema,), lambda: _ways(compiler, schema, pointer))
    return either(_lower_way(compiler, way, pointer, layout) for way in found)


def _lower_way(compiler: Compiler, way: Way, pointer: str, layout: Layout) -> Expr:
    if not way.by_extra or isinstance(way.schema, bool):
        return compiler.schema(way.schema, pointer, layout)
    breaches = [
        Breach(_keys(compiler, leaf, pointer), _broken_value(compiler, leaf))
        for leaf in way.by_extra
    ]
    return lower_object(compiler, way.schema, pointer, layout, breaches)


def _ways(compiler: Compiler, schema: Schema, pointer: str) -> list[Way]:
    leaves = [leaf for leaf in schema["not"] if _is_about_properties(leaf)]
    others = tuple(leaf for leaf in schema["not"] if not _is_about_properties(leaf))
    rest = {k: v for k, v in schema.items() if k != "not"} | {"type": "object"}
    if others:
        rest["not"] = others
    names = _names(compiler, schema, pointer)
    choices = [[None, *_breaking(compiler, leaf, names, pointer)] for leaf in leaves]
    found: list[Way] = []
    for chosen in product(*choices):
        by_extra = [leaf for leaf, name in zip(leaves, chosen, strict=True) if name is None]
        if len(found) >= MAX_WAYS or len(by_extra) > MAX_BREACHES:
            raise UnsupportedConstraint(
                "so many negations that extra properties may meet", pointer=pointer, keyword="not"
            )
        whole: Any = rest
        for leaf, name in zip(leaves, chosen, strict=True):
            if name is not None:
                properties = {name: _broken_value(compiler, leaf)}
                broken = {"type": "object", "required": [name], "properties": properties}
                whole = compiler.conjunction(whole, broken, pointer)
        found.append(Way(whole, by_extra))
    return found


def _names(compiler: Compiler, schema: Schema, pointer: str) -> list[str]:
    """The names that are not extra."""
    names = dict.fromkeys((*schema.get("properties", ()), *schema.get("required", ())))
    allowed = schema.get("propertyNames", True)
    listed = None if allowed is True else plain_constants(compiler, allowed, pointer)
    return [*names, *(n for n in listed or () if isinstance(n, str) and n not in names)]


def _breaking(
    compiler: Compiler, leaf: Schema, names: Iterable[str], pointer: str
) -> Iterable[str]:
    """Those of the names that the leaf is about."""
    if "propertyNames" in leaf:
        validator = values.Validator(compiler, pointer)
        return [name for name in names if validator.is_invalid(name, leaf["propertyNames"])]
    patterns = leaf.get("patternProperties", {})
    if "additionalProperties" not in leaf:
        return [name for name in names if all(is_match(p, name) for p in patterns)]
    others = [name for name in names if name not in leaf.get("properties", ())]
    return [n for n in others if not any(is_match(p, n, widest=True) for p in patterns)]


def _keys(compiler: Compiler, leaf: Schema, pointer: str) -> Expr:
    """The names that the leaf is about, canonically spelled."""
    if "propertyNames" in leaf:
        negated = compiler.negation(leaf["propertyNames"], pointer)
        return key_language(compiler, negated, pointer)
    patterns = leaf.get("patternProperties", {})
    if "additionalProperties" not in leaf:
        return And(tuple(seq(QUOTE, inside(p), QUOTE) for p in patterns))
    every = any_key_except(frozenset(leaf.get("properties", ())))
    matched = [seq(QUOTE, inside(p, widest=True), QUOTE) for p in patterns]
    return And((every, Not(either(matched)))) if matched else every


def _broken_value(compiler: Compiler, leaf: Schema) -> Any:
    """What the value of such a property is."""
    if "propertyNames" in leaf:
        return True
    if "additionalProperties" in leaf:
        value = leaf["additionalProperties"]
    else:
        (value,) = leaf["patternProperties"].values()
    if isinstance(value, bool):
        return not value
    return compiler.once("negated", (value,), lambda: {"not": value})
