"""Keywords that only abbreviate others, rewritten: not, if, dependencies, unevaluatedProperties.

What remains is a schema of plain keywords and allOf / anyOf, valid exactly where the given one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.json_schema.keywords import Schema, types_of
from sestina.lang.json_schema.merge import both

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

SUGAR = frozenset(
    {
        *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies"),
        "unevaluatedProperties",
    }
)

# In-place applicators whose evaluated properties depend on the value.
_BRANCHING = ("anyOf", "oneOf", "if", "dependentSchemas", "dependencies", "$dynamicRef")
_EVALUATING = frozenset({"properties", "patternProperties", "additionalProperties"})


def desugar(compiler: Compiler, schema: Schema, pointer: str) -> Schema:
    """The schema without abbreviations; itself where it has none."""
    if SUGAR.isdisjoint(schema):
        return schema
    rest = {k: v for k, v in schema.items() if k not in SUGAR}
    more: list[Any] = []
    for keyword, rewrite in _REWRITES.items():
        if keyword not in schema:
            continue
        if isinstance(schema[keyword], tuple):  # a `not` that only a language can answer
            rest[keyword] = schema[keyword]
        else:
            more += rewrite(compiler, schema, pointer)
    if more:
        rest["allOf"] = [*rest.get("allOf", ()), *more]
    return rest


def _not(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    return [compiler.negation(schema["not"], pointer)]


def _if(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    condition = schema["if"]
    then, otherwise = schema.get("then", True), schema.get("else", True)
    if then is True and otherwise is True:
        return []
    return [{"anyOf": [both(condition, then), both({"not": condition}, otherwise)]}]


def _dependent(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    if "object" not in types_of(schema):
        return []
    found: list[Any] = []
    for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
        for name, what in schema.get(keyword, {}).items():
            present: Any = {"required": [name]}
            if isinstance(what, list):
                present = {"required": [name, *(n for n in what if n != name)]}
            elif what is not True:
                present = {"allOf": [present, what]}
            if present != {"required": [name]}:
                found.append({"anyOf": [{"properties": {name: False}}, present]})
    return found


def _unevaluated(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    """additionalProperties over all that the schema and those in its place have evaluated."""
    other = schema["unevaluatedProperties"]
    if other is True or other == {} or "object" not in types_of(schema):
        return []
    names: dict[str, Any] = {}
    patterns: dict[str, Any] = {}
    pending: list[tuple[Any, int]] = [
        ({k: v for k, v in schema.items() if k != "unevaluatedProperties"}, 0)
    ]
    while pending:
        part, depth = pending.pop()
        if isinstance(part, bool):
            continue
        if depth > 32 or "$recursiveRef" in part:
            _refuse(pointer)
        if "additionalProperties" in part or "unevaluatedProperties" in part:
            return []
        names.update(dict.fromkeys(part.get("properties", {}), True))
        patterns.update(dict.fromkeys(part.get("patternProperties", {}), True))
        if any(_may_evaluate(part[k]) for k in _BRANCHING if k in part):
            _refuse(pointer)
        if any(_may_evaluate(part[k]) for k in ("then", "else") if k in part):
            _refuse(pointer)
        pending += [(sub, depth + 1) for sub in part.get("allOf", ())]
        if "$ref" in part:
            pending.append((compiler.resolve(part["$ref"], pointer)[0], depth + 1))
    return [{"properties": names, "patternProperties": patterns, "additionalProperties": other}]


def _may_evaluate(part: Any) -> bool:
    """Whether a branch may mark properties as evaluated."""
    if isinstance(part, list):
        return any(map(_may_evaluate, part))
    if not isinstance(part, dict):
        return False
    if _EVALUATING & part.keys() or "$ref" in part or "unevaluatedProperties" in part:
        return True
    return any(_may_evaluate(value) for key, value in part.items() if key not in ("not", "const"))


def _refuse(pointer: str) -> None:
    raise UnsupportedConstraint(
        "unevaluatedProperties beside branches that evaluate properties",
        pointer=pointer,
        keyword="unevaluatedProperties",
    )


_Rewrite = Callable[["Compiler", Schema, str], list[Any]]

_REWRITES: Mapping[str, _Rewrite] = MappingProxyType(
    {
        "not": _not,
        "if": _if,
        **dict.fromkeys(("dependentRequired",), _dependent),
        "dependentSchemas": lambda c, s, p: [] if "dependentRequired" in s else _dependent(c, s, p),
        "dependencies": lambda c, s, p: (
            [] if {"dependentRequired", "dependentSchemas"} & s.keys() else _dependent(c, s, p)
        ),
        "unevaluatedProperties": _unevaluated,
    }
)
