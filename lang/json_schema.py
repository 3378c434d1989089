"""JSON Schema (draft 2020-12, and draft-07's `definitions`) to constraint IR.

The language of a schema is a set of JSON texts, each of which decodes to a valid value: sound on
the decoded value, complete up to spelling (one key order, the given whitespace, canonical strings
where their characters matter). `sestina.lang.json_keywords` lists what is enforced and what is
refused; a refusal names the JSON pointer and the keyword.

Objects have their declared properties in declared order, then required ones that were not
declared, then extra ones if `additionalProperties` allows any; an extra key is never a declared
name. `$ref` becomes a rule, so recursion costs nothing; where it stands beside other keywords, as
with `allOf`, the schemas are merged (`sestina.lang.json_merge`). `oneOf` is taken where its
branches cannot overlap.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from sestina.lang import (
    json_layout,
    json_number,
    json_string,
    json_text,
    json_values,
    regex_syntax,
)
from sestina.lang.errors import (
    ConstraintError,
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)
from sestina.lang.expr import either, is_nothing, joined, seq, times
from sestina.lang.grammar_check import is_productive, left_recursion
from sestina.lang.grammar_ir import NOTHING, And, Expr, Grammar, Literal, Rule
from sestina.lang.json_formats import FORMATS, REFUSED_FORMATS
from sestina.lang.json_keywords import (
    APPLICATORS,
    ENFORCED,
    REFUSED,
    TYPES,
    Schema,
    bounds_of,
    is_vacuous,
    size,
    types_of,
)
from sestina.lang.json_layout import Layout
from sestina.lang.json_merge import conjunction, tuple_items
from sestina.lang.json_overlap import are_disjoint
from sestina.lang.json_refs import child, resolve
from sestina.lang.json_shapes import check_shape

ANYWHERE = "*"  # the pointer of "any JSON value", which is no place in the schema

MAX_INLINE_DEPTH = 12
MAX_RULES = 20_000
MAX_MERGES = 1_000


class Report(NamedTuple):
    """Places in the schema, each as "pointer keyword"."""

    enforced: tuple[str, ...]
    annotations: tuple[str, ...]


class Lowered(NamedTuple):
    grammar: Grammar
    report: Report


@functools.lru_cache(maxsize=256)
def lower(source: str, whitespace: str = "spaced") -> Lowered:
    """The language of the schema in `source` (JSON text); raises a ConstraintError."""
    compiler = _Compiler(json_text.loads(source))
    grammar = compiler.compile(json_layout.parse(whitespace))
    report = Report(tuple(compiler.enforced), tuple(compiler.annotations))
    return Lowered(grammar, report)


class _Compiler:
    """One schema document being lowered. Sub-schemas that need a name wait in `pending`."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.rules: dict[str, Expr] = {}
        self.pending: list[tuple[str, Any, str, Layout]] = []
        # Rule names by the identity of the schema (kept alive here) and the depth of the layout.
        self.named: dict[tuple[int, int], tuple[str, Any]] = {}
        self.enforced: dict[str, None] = {}
        self.annotations: dict[str, None] = {}
        # Any JSON value, as a schema like any other.
        self.any_json = {"type": list(TYPES)}
        self.depth = 0
        self.num_merges = 0

    def compile(self, layout: Layout) -> Grammar:
        start = self.schema(self.document, "", layout)
        while self.pending:
            name, schema, pointer, inner = self.pending.pop()
            self.rules[name] = self.schema(schema, pointer, inner)
        grammar = Grammar(start, MappingProxyType(self.rules))
        if (cycle := left_recursion(grammar)) is not None:
            raise InvalidConstraint(
                "the schema refers to itself without anything in between",
                pointer=cycle.partition("@")[0],
                keyword="$ref",
            )
        if not is_productive(grammar):
            raise UnsatisfiableConstraint("no JSON value is valid under the schema", pointer="")
        return grammar

    def schema(self, schema: Any, pointer: str, layout: Layout) -> Expr:
        """The texts of the values valid under one (sub-)schema; NOTHING if there is none."""
        if schema is True or schema == {}:
            return self.any_value(layout)
        if schema is False:
            return NOTHING
        check_shape(schema, pointer)
        if self.depth >= MAX_INLINE_DEPTH:
            return self.rule(schema, pointer, layout)
        self.depth += 1
        try:
            return self.keywords(schema, pointer, layout)
        except InvalidConstraint as error:
            if error.pointer is not None:
                raise
            raise InvalidConstraint(error.reason, pointer=pointer) from None
        finally:
            self.depth -= 1

    def rule(self, schema: Any, pointer: str, layout: Layout) -> Expr:
        """A rule for this schema, lowered later: once, however often it is mentioned."""
        key = (id(schema), layout.depth)
        if key not in self.named:
            if len(self.named) >= MAX_RULES:
                self.fail(ConstraintLimitExceeded, f"more than {MAX_RULES} rules", pointer)
            name = f"{pointer}@{len(self.named)}"
            self.named[key] = (name, schema)
            self.pending.append((name, schema, pointer, layout))
        return Rule(self.named[key][0])

    def keywords(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        applied = [k for k in APPLICATORS if k in schema]
        asserted = [k for k in schema if self.note(schema, k, pointer)]
        if not applied:
            return self.plain(schema, pointer, layout)
        if asserted == applied and len(applied) == 1:
            return self.applicator(applied[0], schema[applied[0]], pointer, layout)
        return self.merged(schema, applied, pointer, layout)

    def note(self, schema: Schema, keyword: str, pointer: str) -> bool:
        """Whether this keyword asserts something; for the report, and refusing what must be."""
        value = schema[keyword]
        if keyword == "$id" and pointer:
            self.fail(UnsupportedConstraint, "an $id below the root", pointer, keyword)
        if keyword in REFUSED:
            kind = REFUSED[keyword]
            if (kind and kind not in _value_types(schema)) or is_vacuous(keyword, value, schema):
                return False
            self.fail(UnsupportedConstraint, f"{keyword} is not enforced yet", pointer, keyword)
        is_known = keyword in ENFORCED
        if keyword == "format" and value not in FORMATS:
            is_known = False
            if value in REFUSED_FORMATS and "string" in types_of(schema):
                self.fail(UnsupportedConstraint, f"the format {value!r}", pointer, keyword)
        if pointer != ANYWHERE:
            found = self.enforced if is_known else self.annotations
            found.setdefault(f"{pointer or '/'} {keyword}")
        return is_known

    # ---- references and combinations --------------------------------------------------------

    def applicator(self, keyword: str, value: Any, pointer: str, layout: Layout) -> Expr:
        if keyword == "$ref":
            target, place = resolve(self.document, value, pointer)
            if isinstance(target, bool):
                return self.schema(target, place, layout)
            return self.rule(target, place, layout)
        branches = [(branch, child(pointer, keyword, i)) for i, branch in enumerate(value)]
        if keyword == "allOf":
            whole, place = branches[0]
            for branch, _ in branches[1:]:
                whole, place = self.conjunction(whole, branch, pointer), pointer
            return self.schema(whole, place, layout)
        if keyword == "oneOf":
            self.check_disjoint([branch for branch, _ in branches], pointer)
        return either(self.schema(branch, place, layout) for branch, place in branches)

    def merged(self, schema: Schema, applied: list[str], pointer: str, layout: Layout) -> Expr:
        """Several applicators, or one beside other keywords: all of them hold at once."""
        keyword = applied[0]
        rest = {k: v for k, v in schema.items() if k != keyword}
        if keyword == "$ref":
            target, _ = resolve(self.document, schema[keyword], pointer)
            return self.schema(self.conjunction(target, rest, pointer), pointer, layout)
        branches = schema[keyword]
        if keyword == "allOf":
            whole: Any = rest
            for branch in branches:
                whole = self.conjunction(whole, branch, pointer)
            return self.schema(whole, pointer, layout)
        if keyword == "oneOf":
            self.check_disjoint(branches, pointer)
        return either(
            self.schema(self.conjunction(rest, branch, pointer), pointer, layout)
            for branch in branches
        )

    def conjunction(self, a: Any, b: Any, pointer: str) -> Any:
        check_shape(a, pointer)
        check_shape(b, pointer)
        self.num_merges += 1
        if self.num_merges > MAX_MERGES:
            self.fail(ConstraintLimitExceeded, f"more than {MAX_MERGES} schemas merged", pointer)
        return conjunction(a, b, pointer)

    def check_disjoint(self, branches: list[Any], pointer: str) -> None:
        if not are_disjoint(self.document, branches, pointer):
            self.fail(
                UnsupportedConstraint,
                "oneOf whose branches may overlap (not of different types, and no required "
                "property with different constants)",
                pointer,
                "oneOf",
            )

    # ---- values by type ---------------------------------------------------------------------

    def plain(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        """A schema without applicators."""
        types = types_of(schema)
        if "enum" in schema or "const" in schema:
            return self.enumerated(schema, pointer, layout)
        if "type" not in schema and not any(ENFORCED.get(k) for k in schema):
            return self.any_value(layout)
        return either(
            lower_type(self, schema, pointer, layout)
            for name, lower_type in _BY_TYPE.items()
            if name in types
        )

    def enumerated(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        """The members of enum / const that the other keywords of the schema allow."""
        members = json_values.members(schema, pointer)
        strings = [m for m in members if isinstance(m, str)]
        others = [m for m in members if not isinstance(m, str)]
        texts = either(json_string.quoted(member) for member in strings)
        if strings and ("pattern" in schema or schema.get("format") in FORMATS):
            texts = And((texts, self.string(schema, pointer, layout)))
        return either([texts, *(json_layout.constant(member, layout) for member in others)])

    def null(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        return Literal(b"null")

    def boolean(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        return either([Literal(b"true"), Literal(b"false")])

    def integer(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        return json_number.integer(bounds_of(schema))

    def number(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        return json_number.number(bounds_of(schema))

    def string(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        low, high = size(schema, "minLength", "maxLength")
        if high is not None and high < low:
            return NOTHING
        parts = [
            self.regex(p, pointer, "format") for p in FORMATS.get(schema.get("format", ""), ())
        ]
        if "pattern" in schema:
            parts.append(self.regex(schema["pattern"], pointer, "pattern"))
        if not parts:
            return json_string.free(low, high)
        if low or high is not None:
            parts.append(json_string.canonical_length(low, high))
        if any(map(is_nothing, parts)):
            return NOTHING
        inside = parts[0] if len(parts) == 1 else And(tuple(parts))
        return seq(json_string.QUOTE, inside, json_string.QUOTE)

    def regex(self, pattern: str, pointer: str, keyword: str) -> Expr:
        """The inside of a string: a match anywhere for pattern, of everything for a format."""
        try:
            return regex_syntax.lower(
                pattern,
                dialect=regex_syntax.Dialect.ECMA,
                search=keyword == "pattern",
                spell=json_string.spelled,
            )
        except UnsatisfiableConstraint:
            return NOTHING
        except ConstraintError as error:
            raise type(error)(
                error.reason,
                pointer=pointer,
                keyword=keyword,
                source=error.source,
                position=error.position,
            ) from None

    def array(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        low, high = size(schema, "minItems", "maxItems")
        first, rest = tuple_items(schema)
        inner = layout.inner()
        where = "items" if isinstance(schema.get("items"), list) else "prefixItems"
        items: list[Expr] = []
        for i, item in enumerate(first[:high]):
            expr = self.schema(item, child(pointer, where, i), inner)
            if is_nothing(expr):  # the array must end before it
                high = i
                break
            items.append(expr)
        others: Expr = NOTHING
        if high is None or high > len(items):
            others = self.schema(rest, child(pointer, "items"), inner)
        return json_layout.array(items, others, low, high, layout)

    def object(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        known, required = schema.get("properties", {}), schema.get("required", [])
        other, inner = schema.get("additionalProperties", True), layout.inner()
        members: list[tuple[Expr, bool]] = []
        for name in {**known, **dict.fromkeys(required)}:
            where = ("properties", name) if name in known else ("additionalProperties",)
            value = self.schema(known.get(name, other), child(pointer, *where), inner)
            is_required = name in required
            if is_nothing(value) and is_required:
                return NOTHING
            if not is_nothing(value):
                key = json_string.quoted(name)
                members.append((seq(key, layout.colon, value), not is_required))
        extra = self.schema(other, child(pointer, "additionalProperties"), inner)
        if not is_nothing(extra):
            names = frozenset(known) | frozenset(required)
            pair = seq(json_string.any_key_except(names), layout.colon, extra)
            members.append((seq(pair, times(seq(layout.comma, pair), 0, None)), True))
        body, may_be_empty = joined(members, layout.comma)
        return layout.container(b"{}", body, may_be_empty=may_be_empty)

    def any_value(self, layout: Layout) -> Expr:
        return self.rule(self.any_json, ANYWHERE, layout)

    def fail(
        self, kind: type[ConstraintError], message: str, pointer: str, keyword: str | None = None
    ) -> NoReturn:
        raise kind(message, pointer=pointer, keyword=keyword)


def _value_types(schema: Schema) -> frozenset[str]:
    """The types of value a schema may have, "number" for integers too."""
    return frozenset("number" if t == "integer" else t for t in types_of(schema))


_BY_TYPE: Mapping[str, Callable[[_Compiler, Schema, str, Layout], Expr]] = MappingProxyType(
    {
        "null": _Compiler.null,
        "boolean": _Compiler.boolean,
        "integer": _Compiler.integer,
        "number": _Compiler.number,
        "string": _Compiler.string,
        "array": _Compiler.array,
        "object": _Compiler.object,
    }
)
