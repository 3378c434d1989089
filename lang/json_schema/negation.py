"""The schema of all values that are not valid under a schema.

A schema is a conjunction of keywords, so its negation is an alternative of negated keywords, each
with the types it speaks about: not `{"minimum": 5}` is `{"type": "number", "exclusiveMaximum": 5}`.
What no keyword can say stays a `not` whose value is a tuple: strings outside a pattern (its
complement is a regular language), numbers that are no integers or no multiples, objects with a
property that breaks a rule for all properties (`witness`). Where engines differ, what is left is
invalid for all of them: a format is negated by a pattern that is wider than any reading of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import pairwise, product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.json_schema.formats import FORMATS, WIDEST_FORMATS
from sestina.lang.json_schema.keywords import (
    ENFORCED,
    TYPES,
    Schema,
    count,
    tupled,
    types_of,
)
from sestina.lang.json_schema.merge import both, tuple_items
from sestina.lang.json_schema.pieces import flat, tags_first

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_EXCLUDED_NUMBERS = 16
MAX_COUNTED_ITEMS = 6


def negate(compiler: Compiler, schema: Any, pointer: str) -> Any:
    """A schema for what `schema`, already without abbreviations, does not allow."""
    if isinstance(schema, bool):
        return not schema
    pieces: list[Any] = []
    for keyword in schema:
        rule = _RULES.get(keyword)
        if rule is not None:
            pieces += rule(compiler, schema, pointer)
        elif keyword in ENFORCED:
            _refuse(keyword, pointer)
    if any(piece is True for piece in pieces):
        return True
    live = tags_first(flat(piece for piece in pieces if piece is not False))
    if not live:
        return False
    return live[0] if len(live) == 1 else {"anyOf": live}


def _refuse(keyword: str, pointer: str) -> NoReturn:
    raise UnsupportedConstraint(f"the negation of {keyword!r}", pointer=pointer, keyword="not")


# ---- any type ---------------------------------------------------------------------------------


def _type(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    named = types_of(schema)
    others = [t for t in TYPES if t not in named and not (t == "number" and "integer" in named)]
    pieces: list[Any] = [{"type": others}] if others else []
    if "integer" in named:
        pieces.append({"type": "number", "not": ({"type": "integer"},)})
    return pieces


def _values(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    """Not one of some constants: other types, and the other values of each type."""
    keyword = "enum" if "enum" in schema else "const"
    if "enum" in schema and "const" in schema:
        _refuse("enum", pointer)
    values = schema["enum"] if keyword == "enum" else [schema["const"]]
    strings = [v for v in values if isinstance(v, str)]
    pieces: list[Any] = [
        {"type": "string", "not": ({"enum": strings},)} if strings else {"type": "string"}
    ]
    pieces += [
        {"type": "boolean", "const": b} for b in (True, False) if all(b is not v for v in values)
    ]
    if all(v is not None for v in values):
        pieces.append({"type": "null"})
    numbers = {
        Decimal(v)
        for v in values
        if isinstance(v, (int, Decimal)) and v is not True and v is not False
    }
    pieces += _other_numbers(sorted(numbers), pointer)
    for name, empty, at_least in (("array", [], "minItems"), ("object", {}, "minProperties")):
        of_type: list[Any] = [v for v in values if isinstance(v, type(empty))]
        if not of_type:
            pieces.append({"type": name})
        elif of_type == [empty]:
            pieces.append({"type": name, at_least: 1})
        else:
            negated = [_other_container(v) for v in of_type]
            pieces.append(negated[0] if len(negated) == 1 else {"allOf": negated})
    return pieces


def _other_numbers(values: list[Decimal], pointer: str) -> list[Any]:
    """The open intervals between numbers: no spelling, and no double, of a value is left."""
    if len(values) > MAX_EXCLUDED_NUMBERS:
        _refuse("enum", pointer)
    ends = [None, *values, None]
    pieces = []
    for low, high in pairwise(ends):
        piece: dict[str, Any] = {"type": "number"}
        if low is not None:
            piece["exclusiveMinimum"] = low
        if high is not None:
            piece["exclusiveMaximum"] = high
        pieces.append(piece)
    return pieces


def _other_container(value: Any) -> Any:
    """Arrays other than a constant one, or objects other than a constant one."""
    if isinstance(value, list):
        items = [{"not": {"const": v}} for v in value]
        differing: list[Any] = [
            {"type": "array", "minItems": len(value), "prefixItems": [True] * i + [item]}
            for i, item in enumerate(items)
        ]
        shorter = [{"type": "array", "maxItems": len(value) - 1}] if value else []
        return {"anyOf": [*shorter, {"type": "array", "minItems": len(value) + 1}, *differing]}
    names = list(value)
    return {
        "anyOf": [
            _other_names(names),
            *({"type": "object", "properties": {name: False}} for name in names),
            *(_bad_property(name, {"const": value[name]}) for name in names),
        ]
    }


def _all_of(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [compiler.negation(part, pointer) for part in schema["allOf"]]


def _any_of(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    whole: Any = True
    for part in schema["anyOf"]:
        whole = both(whole, compiler.negation(part, pointer))
    return [whole]


def _one_of(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    """None of the branches or two of them."""
    parts = schema["oneOf"]
    pairs = compiler.overlapping(parts, pointer, {})
    two = [both(parts[i], parts[j]) for i, j in pairs]
    return [*_any_of(compiler, {"anyOf": parts}, pointer), *two]


def _ref(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    target, place = compiler.resolve(schema["$ref"], pointer)
    return [compiler.negation(target, place)]


def _not(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    """Back from a residual `not`: one of its leaves holds, and with it the type it is about."""
    return list(schema["not"])


# ---- numbers and strings ----------------------------------------------------------------------


def _bound(opposite: str) -> Callable[[Compiler, Schema, str], list[Any]]:
    keyword = {v: k for k, v in _OPPOSITE.items()}[opposite]
    return lambda _, schema, __: [{"type": "number", opposite: schema[keyword]}]


_OPPOSITE = {
    "minimum": "exclusiveMaximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMinimum": "maximum",
    "exclusiveMaximum": "minimum",
}


def _size(type_: str, keyword: str) -> Callable[[Compiler, Schema, str], list[Any]]:
    """minItems and its like: the other side of the bound."""

    def rule(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
        value = count(schema[keyword])
        if keyword.startswith("max"):
            return [{"type": type_, "min" + keyword[3:]: value + 1}]
        return [{"type": type_, "max" + keyword[3:]: value - 1}] if value else []

    return rule


def _multiple(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [{"type": "number", "not": ({"multipleOf": schema["multipleOf"]},)}]


def _pattern(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [{"type": "string", "not": ({"pattern": p},)} for p in tupled(schema["pattern"])]


def _format(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    names = [name for name in tupled(schema["format"]) if name in FORMATS]
    return [{"type": "string", "not": ({"pattern": WIDEST_FORMATS[name]},)} for name in names]


# ---- arrays -----------------------------------------------------------------------------------


def _items(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    first, rest = tuple_items(schema)
    pieces: list[Any] = [
        {"type": "array", "minItems": i + 1, "prefixItems": [True] * i + [_is_not(item)]}
        for i, item in enumerate(first)
        if item is not True
    ]
    if rest is False:
        pieces.append({"type": "array", "minItems": len(first) + 1})
    elif rest is not True and rest != {}:
        pieces += _bad_beyond(len(first), rest, pointer)
    return pieces


def _bad_beyond(num_first: int, rest: Any, pointer: str) -> list[Any]:
    """Arrays with a bad item after the first ones: more of them than there are among the first."""
    if num_first > MAX_COUNTED_ITEMS:
        _refuse("items", pointer)
    bad = _is_not(rest)
    return [
        {
            "type": "array",
            **({"prefixItems": [bad if b else rest for b in held]} if held else {}),
            **{"contains": bad, "minContains": sum(held) + 1},
        }
        for held in product((False, True), repeat=num_first)
    ]


def _prefix_items(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [] if "items" in schema else _items(compiler, schema, pointer)


def _contains(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    if isinstance(schema["contains"], tuple):
        return [
            piece for part in schema["contains"] for piece in _contains(compiler, part, pointer)
        ]
    wanted, least = schema["contains"], count(schema.get("minContains", 1))
    pieces: list[Any] = []
    if least == 1:
        pieces.append({"type": "array", "items": _is_not(wanted)})
    elif least:
        fewer = {"contains": wanted, "minContains": 0, "maxContains": least - 1}
        pieces.append({"type": "array", **fewer})
    if "maxContains" in schema:
        more = count(schema["maxContains"]) + 1
        pieces.append({"type": "array", "contains": wanted, "minContains": more})
    return pieces


def _unique(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [] if schema["uniqueItems"] is False else _refuse("uniqueItems", pointer)


# ---- objects ----------------------------------------------------------------------------------


def _required(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [{"type": "object", "properties": {name: False}} for name in schema["required"]]


def _properties(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [_bad_property(n, s) for n, s in schema["properties"].items() if s not in (True, {})]


def _bad_property(name: str, schema: Any) -> Any:
    return {"type": "object", "required": [name], "properties": {name: _is_not(schema)}}


def _additional(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    """Some property beyond those declared that is not as they should be (`witness`)."""
    if isinstance(schema["additionalProperties"], tuple):
        several = schema["additionalProperties"]
        return [piece for one in several for piece in _additional(compiler, one, pointer)]
    value, known = schema["additionalProperties"], schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    if value is True or value == {}:
        return []
    if value is False and not patterns:
        return [_other_names(list(known))]
    leaf: dict[str, Any] = {"additionalProperties": value}
    if known:
        leaf["properties"] = dict.fromkeys(known, True)
    if patterns:
        leaf["patternProperties"] = dict.fromkeys(patterns, True)
    return [{"type": "object", "not": (leaf,)}]


def _other_names(names: list[str]) -> Any:
    """Objects with a property that is none of `names`."""
    return {
        "type": "object",
        "properties": dict.fromkeys(names, True),
        "not": ({"propertyNames": {"enum": names}},),
    }


def _pattern_properties(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [
        {"type": "object", "not": ({"patternProperties": {pattern: value}},)}
        for pattern, value in schema["patternProperties"].items()
        if value not in (True, {})
    ]


def _property_names(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    names = schema["propertyNames"]
    if isinstance(names, bool):
        return [] if names else [{"type": "object", "minProperties": 1}]
    if names.keys() == {"enum"}:
        return [_other_names([name for name in names["enum"] if isinstance(name, str)])]
    return [{"type": "object", "not": ({"propertyNames": names},)}] if names else []


def _is_not(schema: Any) -> Any:
    if isinstance(schema, bool):
        return not schema
    return {"not": schema}


_Rule = Callable[["Compiler", Schema, str], list[Any]]

_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "type": _type,
        "enum": _values,
        "const": lambda c, s, p: [] if "enum" in s else _values(c, s, p),
        "allOf": _all_of,
        "anyOf": _any_of,
        "oneOf": _one_of,
        "$ref": _ref,
        "not": _not,
        **{keyword: _bound(opposite) for keyword, opposite in _OPPOSITE.items()},
        "multipleOf": _multiple,
        "pattern": _pattern,
        "format": _format,
        "items": _items,
        "additionalItems": lambda c, s, p: [],
        "prefixItems": _prefix_items,
        "contains": _contains,
        "minContains": lambda c, s, p: [],
        "maxContains": lambda c, s, p: [],
        "uniqueItems": _unique,
        "required": _required,
        "properties": _properties,
        "additionalProperties": _additional,
        "patternProperties": _pattern_properties,
        "propertyNames": _property_names,
        **{
            keyword: _size(type_, keyword)
            for type_, keyword in (
                *(("string", "minLength"), ("string", "maxLength")),
                *(("array", "minItems"), ("array", "maxItems")),
                *(("object", "minProperties"), ("object", "maxProperties")),
            )
        },
    }
)
