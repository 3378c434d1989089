"""JSON Schema (draft 2020-12, and draft-07's `definitions`) to constraint IR.

The language of a schema is a set of JSON texts, each of which decodes to a valid value: sound on
the decoded value, complete up to spelling (one key order, the given whitespace, canonical strings
where their characters matter). `sestina.lang.json_schema.keywords` lists what is enforced and what
is refused; a refusal names the JSON pointer and the keyword.

`$ref` becomes a rule, so recursion costs nothing; where it stands beside other keywords, as with
`allOf`, the schemas are merged (`merge`). `not`, `if` and the like are rewritten first (`desugar`,
`negation`). `oneOf` is `anyOf` where its branches cannot overlap (`overlap`); else each branch is
joined with the negation of those it may overlap with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from sestina.lang.errors import (
    ConstraintError,
    ConstraintLimitExceeded,
    UnsupportedConstraint,
)
from sestina.lang.expr import either
from sestina.lang.grammar_ir import NOTHING, Expr, Grammar, Rule
from sestina.lang.json_schema import merge, scalars
from sestina.lang.json_schema.arrays import lower_array
from sestina.lang.json_schema.choosing import ways
from sestina.lang.json_schema.contents import Contents
from sestina.lang.json_schema.contradiction import Known
from sestina.lang.json_schema.dead_ends import refuse_dead_ends
from sestina.lang.json_schema.desugar import SUGAR, desugar
from sestina.lang.json_schema.dialects import draft_of
from sestina.lang.json_schema.formats import FORMATS
from sestina.lang.json_schema.keywords import (
    APPLICATORS,
    ENFORCED,
    TYPES,
    Schema,
    tupled,
    types_of,
)
from sestina.lang.json_schema.layout import Layout
from sestina.lang.json_schema.linking import Linker, Reference
from sestina.lang.json_schema.negation import negate
from sestina.lang.json_schema.objects import lower_object
from sestina.lang.json_schema.overlap import overlapping
from sestina.lang.json_schema.pieces import plainest
from sestina.lang.json_schema.refs import child, follow
from sestina.lang.json_schema.shapes import check_shape
from sestina.lang.json_schema.witness import lower_witnessed, needs_witness

_APPLICATORS = frozenset(APPLICATORS)

ANYWHERE = "*"  # the name and pointer of "any JSON value", which is no place in the schema

MAX_INLINE_DEPTH = 12
MAX_RULES = 20_000
MAX_MERGES = 10_000
MAX_LOOKS = 50_000
MAX_WAYS = 5_000
MAX_OVERLAPS = 100
MAX_NEGATED_DEPTH = 60


class Compiler:
    """One schema document being lowered. Sub-schemas that need a name wait in `pending`."""

    def __init__(
        self,
        document: Any,
        linker: Linker | None,
        *,
        takes_notes: bool = False,
        is_narrow: bool = False,
    ) -> None:
        self.document = document
        self.contents = Contents(document)
        self.well_formed: set[int] = set()  # by identity: `contents` keeps them alive
        self.linker = linker
        self.rules: dict[str, Expr] = {}
        self.pending: list[tuple[str, Any, str, Layout]] = []
        # Rule names by the identity of the schema (kept alive here) and the depth of the layout.
        self.named: dict[tuple[int, int], tuple[str, Any]] = {}
        # Several alternatives lead to the same schemas at the same place, time and again.
        self.lowered: dict[tuple[int, int, str, bool], Expr] = {}
        # For the report, if there is to be one, as "pointer keyword".
        self.takes_notes = takes_notes
        self.enforced: dict[str, None] = {}
        self.annotations: dict[str, None] = {}
        # Any JSON value, as a schema like any other.
        self.any_json = {"type": list(TYPES)}
        self.depth = 0
        # Whether references are followed on the spot: a rule has no place under And and Not.
        self.is_inlining = False
        # Whether one of several branches is told from the others in the plainest way alone.
        self.is_narrow = is_narrow
        self.has_overlaps = False
        self.num_merges = 0
        self.num_looks = 0
        self.compared: Known = {}  # of schemas that `contents` keeps alive
        self.num_ways = 0
        self.num_checks = 0  # of constants, by `values`
        self.answers: dict[Hashable, tuple[bool, Any, Any]] = {}  # of those checks
        # Derived schemas by what they derive from, which is kept alive; the same ones give the
        # same object again, so that recursion through them ends in rules.
        self.derived: dict[Hashable, tuple[Any, tuple[Any, ...]]] = {}
        self.made: set[int] = set()  # the identities of those
        self.conjunctions: dict[tuple[int, int], Any] = {}
        self.active: set[tuple[int, int]] = set()
        declared = document.get("$schema") if isinstance(document, dict) else None
        draft = draft_of(declared) if isinstance(declared, str) else None
        self.is_old = linker is None and draft is not None and draft <= 7

    def compile(self, layout: Layout) -> Grammar:
        start = self.schema(self.document, "", layout)
        while self.pending:
            name, schema, pointer, inner = self.pending.pop()
            self.rules[name] = self.schema(schema, pointer, inner)
        grammar = Grammar(start, MappingProxyType(self.rules))
        refuse_dead_ends(grammar, has_own_rules=bool(self.named))
        return grammar

    def schema(self, schema: Any, pointer: str, layout: Layout) -> Expr:
        """The texts of the values valid under one (sub-)schema; NOTHING if there is none."""
        if schema is True or schema == {}:
            return self.any_value(layout)
        if schema is False:
            return NOTHING
        schema = self.checked(schema, pointer)
        if len(schema) == 1 and "allOf" in schema:
            schema = self.once_all(schema)
        place = pointer if id(schema) in self.contents.given else ""
        here = (id(schema), layout.depth, place, self.is_inlining)
        if here in self.lowered:  # `checked` keeps the schema alive
            return self.lowered[here]
        key = here[:2]
        if self.depth >= MAX_INLINE_DEPTH or key in self.active:
            if self.is_inlining:
                self.fail(ConstraintLimitExceeded, "names nested too deeply", pointer)
            return self.rule(schema, pointer, layout)
        self.depth += 1
        self.active.add(key)
        try:
            found = self.keywords(schema, pointer, layout)
            self.lowered[here] = found
            return found
        except ConstraintError as error:
            if error.pointer is not None:
                raise
            keyword = error.keyword if error.keyword in schema else None
            if keyword is None and error.source in schema.get("patternProperties", ()):
                keyword = "patternProperties"
            raise scalars.located(error, pointer, keyword or error.keyword) from None
        finally:
            self.depth -= 1
            self.active.discard(key)

    def checked(self, schema: Any, pointer: str) -> Any:
        """The first schema of the same content, its keywords seen to be of the right shape."""
        schema = self.contents.first(schema)
        if id(schema) not in self.well_formed:
            check_shape(schema, pointer)
            self.well_formed.add(id(schema))
        return schema

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
        asserted = self.asserted(schema, pointer)
        plain = self.plain(schema, pointer)
        applied = _APPLICATORS.intersection(plain)
        if not applied:
            return self.by_type(plain, pointer, layout)
        if len(applied) == 1 and asserted.intersection(plain) <= applied:
            (keyword,) = applied
            return self.applicator(keyword, plain[keyword], pointer, layout)
        return self.merged(plain, pointer, layout)

    def asserted(self, schema: Schema, pointer: str) -> set[str]:
        """The keywords that say something about values."""
        asserted = {keyword for keyword in schema if keyword in ENFORCED}
        if "format" in schema and FORMATS.keys().isdisjoint(tupled(schema["format"])):
            asserted.discard("format")
        if self.takes_notes and pointer != ANYWHERE:
            at = pointer or "/"
            for keyword in schema:
                found = self.enforced if keyword in asserted else self.annotations
                found[f"{at} {keyword}"] = None
        return asserted

    # ---- references and combinations --------------------------------------------------------

    def applicator(self, keyword: str, value: Any, pointer: str, layout: Layout) -> Expr:
        if keyword == "$ref":
            target, place = self.resolve(value, pointer)
            if isinstance(target, bool) or self.is_inlining:
                return self.schema(target, place, layout)
            return self.rule(target, place, layout)
        if keyword == "oneOf":
            value, was = self.exclusive(value, pointer, self.any_json), value
            if value is not was:
                return either(self.schema(branch, pointer, layout) for branch in value)
        branches = [(branch, child(pointer, keyword, i)) for i, branch in enumerate(value)]
        if keyword == "allOf" and len(branches) > 1:
            return self.merged({keyword: value}, pointer, layout)
        return either(self.schema(branch, place, layout) for branch, place in branches)

    def merged(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        """Several applicators, or one beside other keywords: all of them hold at once."""
        found = []
        for one in ways(self, schema, pointer):
            self.num_ways += 1
            if self.num_ways > MAX_WAYS:
                self.fail(ConstraintLimitExceeded, f"more than {MAX_WAYS} alternatives", pointer)
            found.append(self.schema(one, pointer, layout))
        return either(found)

    def exclusive(self, branches: list[Any], pointer: str, given: Schema) -> list[Any]:
        """The branches of a oneOf, made such that one excludes the others."""
        found: list[Any] = self.once(
            "oneOf", (branches, given), lambda: self.excluded(branches, pointer, given)
        )
        return found

    def excluded(self, branches: list[Any], pointer: str, given: Schema) -> list[Any]:
        pairs = self.overlapping(branches, pointer, given)
        if not pairs:
            return branches
        self.has_overlaps = True
        found: list[Any] = []
        for i, branch in enumerate(branches):
            others = [branches[a + b - i] for a, b in pairs if i in (a, b)]
            negated = [self.negation(other, pointer, "oneOf") for other in others]
            if self.is_narrow:
                negated = list(map(plainest, negated))
            found.append({"allOf": [branch, *negated]} if others else branch)
        return found

    def overlapping(
        self, branches: list[Any], pointer: str, given: Schema, keyword: str = "oneOf"
    ) -> list[tuple[int, int]]:
        pairs = overlapping(self.resolve, branches, pointer, given)
        if pairs is None or len(pairs) > MAX_OVERLAPS:
            self.fail(UnsupportedConstraint, "so many branches that overlap", pointer, keyword)
        return pairs

    # ---- derived schemas --------------------------------------------------------------------

    def plain(self, schema: Schema, pointer: str) -> Schema:
        """The schema without abbreviations, nor keywords that are ignored beside `$ref`."""
        if self.is_only_ref(schema):
            return {"$ref": schema["$ref"]} if len(schema) > 1 else schema
        if SUGAR.isdisjoint(schema):
            first: Schema = self.contents.first(schema)
            return first
        plain: Schema = self.once("plain", (schema,), lambda: desugar(self, schema, pointer))
        return plain

    def negation(self, schema: Any, pointer: str, keyword: str = "not") -> Any:
        """The schema of what `schema` does not allow."""
        schema = self.checked(schema, pointer)
        if isinstance(schema, bool):
            return not schema
        self.num_merges += 1
        self.depth += 1
        if self.num_merges > MAX_MERGES or self.depth > MAX_NEGATED_DEPTH:
            self.fail(ConstraintLimitExceeded, "negations too large", pointer, keyword)
        try:
            plain = self.plain(schema, pointer)
            return self.once("not", (schema,), lambda: negate(self, plain, pointer))
        finally:
            self.depth -= 1

    def conjunction(self, a: Any, b: Any, pointer: str) -> Any:
        a, b = self.checked(a, pointer), self.checked(b, pointer)
        if isinstance(a, bool) or isinstance(b, bool):
            return merge.both(a, b)
        self.look(1, pointer)
        key = (id(a), id(b))  # of schemas that `checked` keeps alive
        if key not in self.conjunctions:
            x, y = self.plain(a, pointer), self.plain(b, pointer)
            found = self.once("and", (a, b), lambda: self.merge(x, y, pointer))
            self.conjunctions[key] = found
        return self.conjunctions[key]

    def merge(self, a: Schema, b: Schema, pointer: str) -> Any:
        self.num_merges += 1
        if self.num_merges > MAX_MERGES:
            self.fail(ConstraintLimitExceeded, f"more than {MAX_MERGES} schemas merged", pointer)
        return merge.conjunction(a, b, pointer)

    def look(self, count: int, pointer: str) -> None:
        """Take note that so many branches of a choice are compared with what holds."""
        self.num_looks += count
        if self.num_looks > MAX_LOOKS:
            self.fail(ConstraintLimitExceeded, f"more than {MAX_LOOKS} branches compared", pointer)

    def both(self, a: Any, b: Any) -> Any:
        if isinstance(a, bool) or isinstance(b, bool):
            return merge.both(a, b)
        return self.once("both", (a, b), lambda: merge.both(a, b))

    def without(self, schema: Schema, *keywords: str) -> Schema:
        if schema.keys().isdisjoint(keywords):
            return schema
        rest: Schema = self.once(
            " ".join(keywords),
            (schema,),
            lambda: {k: v for k, v in schema.items() if k not in keywords},
        )
        return rest

    def once(self, what: str, sources: tuple[Any, ...], derive: Callable[[], Any]) -> Any:
        """What `derive` returned when first asked for these sources."""
        sources = tuple(map(self.contents.first, sources))
        key = (what, *map(id, sources))
        if key not in self.derived:
            result = self.contents.first(derive())
            self.derived[key] = (result, sources)
            if all(result is not source for source in sources):
                self.made.add(id(result))
        return self.derived[key][0]

    def is_only_ref(self, schema: Schema) -> bool:
        """Whether `$ref` is all that counts: it has no siblings before draft 2019-09."""
        return self.is_old and "$ref" in schema and id(schema) not in self.made

    def once_all(self, schema: Schema) -> Schema:
        """The first schema that demanded all of the same."""
        parts = tuple(schema["allOf"])
        key = ("all", frozenset(map(id, parts)))
        first: Schema = self.derived.setdefault(key, (schema, parts))[0]
        return first

    def resolve(self, ref: str | Reference, pointer: str) -> tuple[Any, str]:
        """The schema a `$ref` at `pointer` names, and its own pointer."""
        if isinstance(ref, Reference) and self.linker is not None:
            return self.linker.resolve(ref, pointer)
        return follow(self.document, str(ref), pointer)

    # ---- values by type ---------------------------------------------------------------------

    def by_type(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        """A schema without applicators."""
        types = types_of(schema)
        if "enum" in schema or "const" in schema:
            return scalars.lower_members(self, schema, pointer, layout)
        if "type" not in schema and not any(ENFORCED.get(k) or k == "not" for k in schema):
            return self.any_value(layout)
        if len(types) == 1:
            (name,) = types
            return _BY_TYPE[name](self, schema, pointer, layout)
        return either(
            lower_type(self, schema, pointer, layout)
            for name, lower_type in _BY_TYPE.items()
            if name in types
        )

    def object(self, schema: Schema, pointer: str, layout: Layout) -> Expr:
        lower = lower_witnessed if needs_witness(schema) else lower_object
        return lower(self, schema, pointer, layout)

    def any_value(self, layout: Layout) -> Expr:
        if layout.indent:
            return self.rule(self.any_json, ANYWHERE, layout)
        if ANYWHERE not in self.rules:
            self.rules[ANYWHERE] = _any_value(layout)
        return Rule(ANYWHERE)

    def fail(
        self, kind: type[ConstraintError], message: str, pointer: str, keyword: str | None = None
    ) -> NoReturn:
        raise kind(message, pointer=pointer, keyword=keyword)


@functools.lru_cache(maxsize=64)
def _any_value(layout: Layout) -> Expr:
    """The body of the rule for any JSON value: the same object for all schemas, so that a runtime
    can tell that it is the same."""
    compiler = Compiler(True, None)
    compiler.rules[ANYWHERE] = NOTHING  # it stands for what is being made
    return compiler.by_type(compiler.any_json, ANYWHERE, layout)


_BY_TYPE: Mapping[str, Callable[[Compiler, Schema, str, Layout], Expr]] = MappingProxyType(
    {
        "null": scalars.lower_null,
        "boolean": scalars.lower_boolean,
        "integer": scalars.lower_integer,
        "number": scalars.lower_number,
        "string": scalars.lower_string,
        "array": lower_array,
        "object": Compiler.object,
    }
)
