"""Which members of an `enum` the other keywords of its schema allow: a small validator.

Where engines may differ (patterns, formats), `certain` asks for validity under all of them, and
its opposite for validity under any; so a negation is as safe as the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from sestina.lang import json_text
from sestina.lang.errors import ConstraintLimitExceeded, UnsupportedConstraint
from sestina.lang.json_schema.divisible import is_integral
from sestina.lang.json_schema.formats import FORMATS, WIDEST_FORMATS, is_of
from sestina.lang.json_schema.key_classes import is_match
from sestina.lang.json_schema.keywords import (
    Schema,
    bounds_of,
    count,
    size,
    step_of,
    tupled,
    type_name,
    types_of,
)
from sestina.lang.json_schema.merge import tuple_items
from sestina.lang.json_schema.number import check_bound
from sestina.lang.json_schema.shapes import check_shape

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_STEPS = 200
MAX_CHECKS = 300_000


def members(compiler: Compiler, schema: Schema, pointer: str) -> list[Any]:
    """The distinct values of enum and const that satisfy the whole schema.

    Raises UnsupportedConstraint for a keyword not understood here.
    """
    kept: list[Any] = []
    seen: set[str] = set()
    validator = Validator(compiler, pointer)
    for value in schema.get("enum", [schema.get("const")]):
        spelling = json_text.dumps(value)
        if spelling not in seen and validator.is_valid(value, schema, "enum"):
            kept.append(value)
        seen.add(spelling)
    return kept


class Validator:
    """Validity of constant values. `certain` is true if every engine must agree, else any."""

    def __init__(self, compiler: Compiler, pointer: str, *, certain: bool = True) -> None:
        self.compiler = compiler
        self.pointer = pointer
        self.certain = certain
        self.steps = 0

    def is_valid(self, value: Any, schema: Any, known: str = "") -> bool:
        """Whether the value is valid under the schema; `known` is a keyword that holds already."""
        check_shape(schema, self.pointer)
        if isinstance(schema, bool):
            return schema
        if self.steps > MAX_STEPS:
            self.refuse("$ref")
        self.compiler.num_checks += 1
        if self.compiler.num_checks > MAX_CHECKS:
            raise ConstraintLimitExceeded(
                "too many constants under too many schemas", pointer=self.pointer, keyword="enum"
            )
        answers = self.compiler.answers
        key = (id(value), id(schema), self.certain, known)
        if key not in answers:
            # With what it is about, as long as that lives its identity is no other's.
            answers[key] = (self.holds(value, schema, known), value, schema)
        return answers[key][0]

    def holds(self, value: Any, schema: Schema, known: str) -> bool:
        if self.compiler.is_only_ref(schema):
            schema = {"$ref": schema["$ref"]}
        self.steps += 1
        kind = type_name(value)
        try:
            return all(
                _CHECKS[keyword][1](self, value, schema)
                for keyword in schema
                if keyword in _CHECKS and keyword != known and _CHECKS[keyword][0] in ("", kind)
            )
        finally:
            self.steps -= 1

    def opposite(self) -> Validator:
        other = Validator(self.compiler, self.pointer, certain=not self.certain)
        other.steps = self.steps
        return other

    def is_invalid(self, value: Any, schema: Any) -> bool:
        return not self.opposite().is_valid(value, schema)

    def refuse(self, keyword: str) -> NoReturn:
        raise UnsupportedConstraint(
            f"an enum whose schema has {keyword!r}", pointer=self.pointer, keyword=keyword
        )

    # ---- any type -----------------------------------------------------------------------------

    def type(self, value: Any, schema: Schema) -> bool:
        types, name = types_of(schema), type_name(value)
        if name != "number" or "number" in types:
            return name in types
        return "integer" in types and (
            isinstance(value, int) if is_draft_4(self.compiler) else is_integral(Decimal(value))
        )

    def enum(self, value: Any, schema: Schema) -> bool:
        return any(json_text.equal(value, item) for item in schema["enum"])

    def const(self, value: Any, schema: Schema) -> bool:
        return json_text.equal(value, schema["const"])

    def ref(self, value: Any, schema: Schema) -> bool:
        return self.is_valid(value, self.compiler.resolve(schema["$ref"], self.pointer)[0])

    def all_of(self, value: Any, schema: Schema) -> bool:
        return all(self.is_valid(value, part) for part in schema["allOf"])

    def any_of(self, value: Any, schema: Schema) -> bool:
        return any(self.is_valid(value, part) for part in schema["anyOf"])

    def one_of(self, value: Any, schema: Schema) -> bool:
        parts = schema["oneOf"]
        held = [i for i, part in enumerate(parts) if self.is_valid(value, part)]
        return any(
            all(self.is_invalid(value, part) for j, part in enumerate(parts) if j != i)
            for i in held
        )

    def not_(self, value: Any, schema: Schema) -> bool:
        return all(self.is_invalid(value, part) for part in tupled(schema["not"]))

    def if_(self, value: Any, schema: Schema) -> bool:
        then, otherwise = schema.get("then", True), schema.get("else", True)
        condition = schema["if"]
        holds, fails = self.is_valid(value, condition), self.is_invalid(value, condition)
        if self.certain:
            may_hold, may_fail = not fails, not holds
            return (not may_hold or self.is_valid(value, then)) and (
                not may_fail or self.is_valid(value, otherwise)
            )
        return (holds and self.is_valid(value, then)) or (fails and self.is_valid(value, otherwise))

    def refused(self, value: Any, schema: Schema) -> bool:
        self.refuse(next(k for k in _REFUSED if k in schema))

    # ---- by type ------------------------------------------------------------------------------

    def bounds(self, value: Any, schema: Schema) -> bool:
        return bounds_of(schema).allow(Decimal(value))

    def multiple(self, value: Any, schema: Schema) -> bool:
        return (Fraction(check_bound(Decimal(value))) / Fraction(step_of(schema))).denominator == 1

    def length(self, value: str, schema: Schema) -> bool:
        return in_range(len(value), size(schema, "minLength", "maxLength"))

    def pattern(self, value: str, schema: Schema) -> bool:
        return all(is_match(p, value, widest=not self.certain) for p in tupled(schema["pattern"]))

    def format(self, value: str, schema: Schema) -> bool:
        names = tupled(schema["format"])
        if not self.certain:
            return all(
                is_match(WIDEST_FORMATS[name], value, widest=True)
                for name in names
                if name in FORMATS
            )
        return all(is_of(name, value) for name in names if name in FORMATS)

    def num_items(self, value: list[Any], schema: Schema) -> bool:
        return in_range(len(value), size(schema, "minItems", "maxItems"))

    def items(self, value: list[Any], schema: Schema) -> bool:
        first, rest = tuple_items(schema)
        schemas = first[: len(value)] + [rest] * (len(value) - len(first))
        return all(map(self.is_valid, value, schemas))

    def contains(self, value: list[Any], schema: Schema) -> bool:
        if isinstance(schema["contains"], tuple):
            return all(self.contains(value, part) for part in schema["contains"])
        least, most = count(schema.get("minContains", 1)), schema.get("maxContains")
        held = sum(self.is_valid(item, schema["contains"]) for item in value)
        possible = sum(not self.is_invalid(item, schema["contains"]) for item in value)
        return held >= least and (most is None or possible <= count(most))

    def unique(self, value: list[Any], schema: Schema) -> bool:
        return not schema["uniqueItems"] or not any(
            json_text.equal(a, b) for i, a in enumerate(value) for b in value[:i]
        )

    def required(self, value: dict[str, Any], schema: Schema) -> bool:
        return all(name in value for name in schema["required"])

    def num_properties(self, value: dict[str, Any], schema: Schema) -> bool:
        return in_range(len(value), size(schema, "minProperties", "maxProperties"))

    def properties(self, value: dict[str, Any], schema: Schema) -> bool:
        other = schema.get("additionalProperties", True)
        if isinstance(other, tuple):  # several, each with the names it is not about
            rest = {k: v for k, v in schema.items() if k != "additionalProperties"}
            return all(self.properties(value, one) for one in (rest, *other))
        known = schema.get("properties", {})
        patterns = schema.get("patternProperties", {})
        for name, item in value.items():
            schemas = [known[name]] if name in known else []
            sure = bool(schemas)
            for pattern, sub in patterns.items():
                if is_match(pattern, name, widest=self.certain):
                    schemas.append(sub)
                    sure = sure or is_match(pattern, name, widest=not self.certain)
            if not sure:
                schemas.append(other)
            if not all(self.is_valid(item, sub) for sub in schemas):
                return False
        return True

    def names(self, value: dict[str, Any], schema: Schema) -> bool:
        return all(self.is_valid(name, schema["propertyNames"]) for name in value)

    def dependent(self, value: dict[str, Any], schema: Schema) -> bool:
        for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            for name, what in schema.get(keyword, {}).items():
                if name not in value:
                    continue
                if isinstance(what, list):
                    if not all(other in value for other in what):
                        return False
                elif not self.is_valid(value, what):
                    return False
        return True


def is_draft_4(compiler: Compiler) -> bool:
    """Whether 1.0 is no integer: it is one since draft-06."""
    document = compiler.document
    declared = document.get("$schema") if isinstance(document, dict) else None
    return isinstance(declared, str) and any(d in declared for d in ("/draft-03/", "/draft-04/"))


def in_range(length: int, limits: tuple[int, int | None]) -> bool:
    low, high = limits
    return low <= length and (high is None or length <= high)


_REFUSED = ("$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties")

_Check = Callable[[Validator, Any, Schema], bool]

# Keyword -> the type of value it is about ("" for all), and whether a value satisfies it.
_CHECKS: Mapping[str, tuple[str, _Check]] = MappingProxyType(
    {
        "type": ("", Validator.type),
        "enum": ("", Validator.enum),
        "const": ("", Validator.const),
        "$ref": ("", Validator.ref),
        "allOf": ("", Validator.all_of),
        "anyOf": ("", Validator.any_of),
        "oneOf": ("", Validator.one_of),
        "not": ("", Validator.not_),
        "if": ("", Validator.if_),
        **dict.fromkeys(_REFUSED, ("", Validator.refused)),
        **dict.fromkeys(
            ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
            ("number", Validator.bounds),
        ),
        "multipleOf": ("number", Validator.multiple),
        **dict.fromkeys(("minLength", "maxLength"), ("string", Validator.length)),
        "pattern": ("string", Validator.pattern),
        "format": ("string", Validator.format),
        **dict.fromkeys(("minItems", "maxItems"), ("array", Validator.num_items)),
        **dict.fromkeys(("items", "prefixItems"), ("array", Validator.items)),
        "contains": ("array", Validator.contains),
        "uniqueItems": ("array", Validator.unique),
        "required": ("object", Validator.required),
        **dict.fromkeys(("minProperties", "maxProperties"), ("object", Validator.num_properties)),
        **dict.fromkeys(
            ("properties", "patternProperties", "additionalProperties"),
            ("object", Validator.properties),
        ),
        "propertyNames": ("object", Validator.names),
        **dict.fromkeys(
            ("dependentRequired", "dependentSchemas", "dependencies"),
            ("object", Validator.dependent),
        ),
    }
)
