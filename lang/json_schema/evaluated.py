"""unevaluatedProperties and unevaluatedItems, rewritten to additionalProperties and items.

What a schema evaluates depends on which of its branches hold (JSON Schema core 2020-12, section
11). So the schema becomes an alternative of cases: in each some branches are known to hold, and
with them which names and items are evaluated. A case may assume less than what holds: it then
leaves more to the unevaluated keyword, which another case does not; only `else`, and a `oneOf`,
need to know that a branch does not hold. Cost: at most MAX_CASES cases, beyond that it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.json_schema.keywords import Schema
from sestina.lang.json_schema.merge import both
from sestina.lang.json_schema.shapes import check_shape

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_CASES = 128
MAX_REF_STEPS = 32

UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")

# The keywords whose evaluated places depend on the value, or on a schema elsewhere.
_BRANCHES = frozenset(
    {
        *("$ref", "allOf", "anyOf", "oneOf", "if", "then", "else"),
        *("dependentSchemas", "dependencies"),
    }
)


class Evaluated(NamedTuple):
    """Places in a value: property names, by patterns too, and items by position or by what they
    are valid under."""

    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    all_names: bool = False
    num_items: int = 0
    all_items: bool = False
    contained: tuple[int, ...] = ()

    def union(self, other: Evaluated) -> Evaluated:
        return Evaluated(
            self.names | other.names,
            self.patterns | other.patterns,
            self.all_names or other.all_names,
            max(self.num_items, other.num_items),
            self.all_items or other.all_items,
            tuple(sorted({*self.contained, *other.contained})),
        )


_NONE = Evaluated()


class Case(NamedTuple):
    """Schemas that hold together, and what is evaluated then."""

    conditions: tuple[Any, ...]
    evaluated: Evaluated


def expand(compiler: Compiler, schema: Schema, pointer: str) -> Schema:
    """The schema without its unevaluated keywords."""
    return _Expansion(compiler, schema, pointer).expand()


class _Expansion:
    def __init__(self, compiler: Compiler, schema: Schema, pointer: str) -> None:
        self.compiler = compiler
        self.schema = schema
        self.pointer = pointer
        self.asked = tuple(k for k in UNEVALUATED if schema.get(k, True) not in (True, {}))
        self.contained: list[Any] = []  # the `contains` that were met

    def expand(self) -> Schema:
        rest = {k: v for k, v in self.schema.items() if k not in UNEVALUATED}
        if not self.asked:
            return rest
        found = self.cases(rest, 0)
        closed = [_all_of([*case.conditions, *self.closing(case.evaluated)]) for case in found]
        return {"allOf": closed} if len(closed) == 1 else {"anyOf": closed}

    def closing(self, evaluated: Evaluated) -> list[Any]:
        """What the unevaluated keywords say of all other places."""
        found: list[Any] = []
        if "unevaluatedProperties" in self.asked and not evaluated.all_names:
            found.append(
                {
                    "properties": dict.fromkeys(sorted(evaluated.names), True),
                    "patternProperties": dict.fromkeys(sorted(evaluated.patterns), True),
                    "additionalProperties": self.schema["unevaluatedProperties"],
                }
            )
        if "unevaluatedItems" in self.asked and not evaluated.all_items:
            other = self.schema["unevaluatedItems"]
            if evaluated.contained:
                other = {"anyOf": [*(self.contained[i] for i in evaluated.contained), other]}
            found.append({"prefixItems": [True] * evaluated.num_items, "items": other})
        return found

    # ---- cases --------------------------------------------------------------------------------

    def cases(self, schema: Any, depth: int) -> list[Case]:
        """The cases of a schema; their conditions together say what it says."""
        check_shape(schema, self.pointer)
        if isinstance(schema, bool):
            return [Case((schema,), _NONE)]
        if depth > MAX_REF_STEPS:
            self.refuse()
        own = self.own(schema)
        if self.is_sure(own):
            return [Case((schema,), own)]
        branched: list[list[Case]] = []
        taken: set[str] = set()
        for keywords, alternatives in self.branches(schema, depth):
            if any(case.evaluated != _NONE for case in alternatives):
                branched.append(alternatives)
                taken |= keywords
        rest = {k: v for k, v in schema.items() if k not in taken} if taken else schema
        found = [Case((rest,), own)]
        for alternatives in branched:
            found = self.product(found, alternatives)
        return found

    def own(self, schema: Schema) -> Evaluated:
        """What the keywords of a schema evaluate that are no branches."""
        first = schema.get("prefixItems", ())
        is_tuple = isinstance(schema.get("items"), list)
        contained: tuple[int, ...] = ()
        if "contains" in schema:
            contained = (len(self.contained),)
            self.contained.append(schema["contains"])
        found = Evaluated(
            frozenset(schema.get("properties", ())),
            frozenset(schema.get("patternProperties", ())),
            "additionalProperties" in schema or "unevaluatedProperties" in schema,
            len(schema["items"] if is_tuple else first),
            ("additionalItems" if is_tuple else "items") in schema or "unevaluatedItems" in schema,
            contained,
        )
        if "unevaluatedProperties" not in self.asked:
            found = Evaluated(frozenset(), frozenset(), False, *found[3:])
        if "unevaluatedItems" not in self.asked:
            found = Evaluated(*found[:3])
        return found

    def is_sure(self, evaluated: Evaluated) -> bool:
        """Whether nothing can be left for the keywords asked for."""
        return (evaluated.all_names or "unevaluatedProperties" not in self.asked) and (
            evaluated.all_items or "unevaluatedItems" not in self.asked
        )

    def branches(self, schema: Schema, depth: int) -> Iterable[tuple[set[str], list[Case]]]:
        """The cases of each applicator, with the keywords that they replace."""
        if "$ref" in schema:
            target, _ = self.compiler.resolve(schema["$ref"], self.pointer)
            yield {"$ref"}, self.cases(target, depth + 1)
        if "allOf" in schema:
            found = [Case((), _NONE)]
            for part in schema["allOf"]:
                found = self.product(found, self.cases(part, depth + 1))
            yield {"allOf"}, found
        if "anyOf" in schema:
            yield {"anyOf"}, self.any_of(schema["anyOf"], depth)
        if "oneOf" in schema:
            yield {"oneOf"}, self.one_of(schema["oneOf"], depth)
        if "if" in schema:
            yield {"if", "then", "else"}, self.if_then_else(schema, depth)
        for keyword in ("dependentSchemas", "dependencies"):
            if keyword in schema:
                yield {keyword}, self.dependent(schema[keyword], depth)

    def any_of(self, parts: Sequence[Any], depth: int) -> list[Case]:
        """Some of the branches hold: those that do not exclude each other, together."""
        pairs = {frozenset(pair) for pair in self.overlapping(parts)}
        sets: list[tuple[frozenset[int], list[Case]]] = []
        for i, part in enumerate(parts):
            own = self.cases(part, depth + 1)
            joined = [
                (held | {i}, self.product(cases, own))
                for held, cases in sets
                if all(frozenset((i, j)) in pairs for j in held)
            ]
            sets += [*joined, (frozenset({i}), own)]
            self.check_number(sum(len(cases) for _, cases in sets))
        return self.grouped(case for _, cases in sets for case in cases)

    def one_of(self, parts: Sequence[Any], depth: int) -> list[Case]:
        """One of the branches holds, and of those that overlap with it, none."""
        pairs = self.overlapping(parts)
        found: list[Case] = []
        for i, part in enumerate(parts):
            others = [parts[a + b - i] for a, b in pairs if i in (a, b)]
            alone = Case(tuple({"not": other} for other in others), _NONE)
            found += self.product(self.cases(part, depth + 1), [alone])
        return self.grouped(found)

    def if_then_else(self, schema: Schema, depth: int) -> list[Case]:
        condition = schema["if"]
        then, otherwise = schema.get("then", True), schema.get("else", True)
        holds = self.product(self.cases(condition, depth + 1), self.cases(then, depth + 1))
        is_free = then is True and otherwise is True
        fails = [Case(() if is_free else ({"not": condition},), _NONE)]
        return self.grouped([*holds, *self.product(fails, self.cases(otherwise, depth + 1))])

    def dependent(self, schemas: Schema, depth: int) -> list[Case]:
        found = [Case((), _NONE)]
        for name, schema in schemas.items():
            if isinstance(schema, list):
                schema = {"required": schema}
            absent = Case(({"properties": {name: False}},), _NONE)
            present = Case(({"type": "object", "required": [name]},), _NONE)
            held = self.product([present], self.cases(schema, depth + 1))
            found = self.product(found, self.grouped([absent, *held]))
        return found

    def overlapping(self, parts: Sequence[Any]) -> list[tuple[int, int]]:
        given = {k: self.schema[k] for k in ("type", "required") if k in self.schema}
        return self.compiler.overlapping(list(parts), self.pointer, given, self.asked[0])

    def product(self, a: Sequence[Case], b: Sequence[Case]) -> list[Case]:
        self.check_number(len(a) * len(b))
        return self.grouped(
            Case((*x.conditions, *y.conditions), x.evaluated.union(y.evaluated))
            for x in a
            for y in b
            if not any(both(p, q) is False for p in x.conditions for q in y.conditions)
        )

    def grouped(self, cases: Iterable[Case]) -> list[Case]:
        """The cases, those that evaluate the same as one."""
        groups: dict[Evaluated, list[tuple[Any, ...]]] = {}
        for conditions, evaluated in cases:
            groups.setdefault(evaluated, []).append(conditions)
        return [
            Case(every[0] if len(every) == 1 else ({"anyOf": [*map(_all_of, every)]},), evaluated)
            for evaluated, every in groups.items()
        ]

    def check_number(self, num_cases: int) -> None:
        if num_cases > MAX_CASES:
            self.refuse()

    def refuse(self) -> None:
        raise UnsupportedConstraint(
            "so many branches beside it that evaluate different places",
            pointer=self.pointer,
            keyword=self.asked[0],
        )


def _all_of(schemas: Sequence[Any]) -> Any:
    """Those that say something, together."""
    said = [schema for schema in schemas if schema is not True and schema != {}]
    if not said:
        return True
    return said[0] if len(said) == 1 else {"allOf": said}
