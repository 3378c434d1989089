"""Keywords that only abbreviate others, rewritten: not, if, dependencies, unevaluated*.

What remains is a schema of plain keywords and allOf / anyOf, valid exactly where the given one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sestina.lang.json_schema.evaluated import UNEVALUATED, expand
from sestina.lang.json_schema.keywords import Schema, types_of
from sestina.lang.json_schema.merge import both

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

SUGAR = frozenset(
    {
        *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies"),
        *UNEVALUATED,
    }
)


def desugar(compiler: Compiler, schema: Schema, pointer: str) -> Schema:
    """The schema without abbreviations, of which it has some."""
    if not schema.keys().isdisjoint(UNEVALUATED):
        schema = expand(compiler, schema, pointer)
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
    }
)
