"""Constraints: what the user demands of a generated text, as plain values.

A constraint is its source text and options, nothing else: frozen, hashable, equal by value and safe
to read from a network. Constructing one lowers it once, so that a mistake raises on the user's own
line; `to_grammar` gives the language (`sestina.lang.grammar_ir`) that a runtime enforces. The
lowered form is kept in a bounded cache beside the values, never inside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

from sestina.lang import algebra, grammar_syntax, json_text, regex_syntax, structural, typed
from sestina.lang import grammar_ir as ir
from sestina.lang import json_schema as schemas
from sestina.lang.algebra import MAX_DEPTH
from sestina.lang.algebra import Constraint as Constraint
from sestina.lang.algebra import require_text as _require_text
from sestina.lang.errors import ConstraintLimitExceeded, InvalidConstraint

MAX_CHOICES = 100_000


@dataclass(frozen=True, slots=True)
class Regex(Constraint):
    """The whole text matches `pattern`; see `sestina.lang.regex_syntax` for what is understood."""

    kind: ClassVar[str] = "regex"
    pattern: str

    def __post_init__(self) -> None:
        _require_text(self.pattern, "a regex")
        self.to_grammar()

    def _lower(self) -> ir.Grammar:
        return ir.Grammar(regex_syntax.lower(self.pattern))


@dataclass(frozen=True, slots=True)
class JsonSchema(Constraint):
    """The text is a JSON value that is valid under a schema.

    Every keyword of draft 2020-12 (and its older spellings) is enforced or refused with its place;
    `sestina.lang.json_schema.keywords` has the table.

    source: the schema as canonical JSON text, keys in the user's order.
    lenient: whether keywords that cannot be enforced are dropped; otherwise they raise.
    registry: what references out of the schema may lead to, as pairs of URI and JSON text.
    whitespace: "spaced" (an optional space after `,` and `:`), "compact", "any", "any(n)" (up to n
        whitespace characters wherever JSON allows some, 20 for "any") or "indent(n)" (the layout
        of json.dumps(indent=n)). No whitespace before or after the value.
    property_order: "declared" (declared properties in their order, then all others in any order)
        or "any" (every order, of objects with a limited number of properties).
    """

    kind: ClassVar[str] = "json_schema"
    source: str
    whitespace: str = "spaced"
    property_order: str = "declared"
    registry: tuple[tuple[str, str], ...] = ()
    lenient: bool = False

    def __post_init__(self) -> None:
        _require_text(self.source, "a JSON Schema")
        _require_text(self.whitespace, "whitespace")
        _require_text(self.property_order, "property_order")
        for uri, source in self.registry:
            _require_text(uri, "a URI of the registry")
            _require_text(source, "a schema of the registry")
        self.to_grammar()

    def to_grammar(self) -> ir.Grammar:
        return schemas.lower(self._source()).grammar  # which is remembered

    def report(self) -> schemas.Report:
        """Which keywords, at which places, are enforced, which are annotations only, and which
        were dropped because they cannot be enforced (only with `lenient`).
        """
        return schemas.report(self._source())

    def _source(self) -> schemas.Source:
        return schemas.Source(
            self.source, self.whitespace, self.property_order, self.registry, self.lenient
        )


@dataclass(frozen=True, slots=True)
class Choices(Constraint):
    """The text is exactly one of `options`."""

    kind: ClassVar[str] = "choices"
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.options, tuple):
            raise InvalidConstraint(f"choices must be a tuple, got {self.options!r:.80}")
        if not self.options:
            raise InvalidConstraint("choices needs at least one option")
        if len(self.options) > MAX_CHOICES:
            raise InvalidConstraint(f"{len(self.options)} choices; at most {MAX_CHOICES}")
        for option in self.options:
            _require_text(option, "a choice")
        if len(set(self.options)) < len(self.options):
            twice = next(o for o in self.options if self.options.count(o) > 1)
            raise InvalidConstraint(f"the choice {twice!r} is listed twice")

    def _lower(self) -> ir.Grammar:
        return ir.Grammar(ir.alt(ir.literal(option) for option in self.options))


@dataclass(frozen=True, slots=True)
class Grammar(Constraint):
    """The text is derived by a context-free grammar; see `sestina.lang.grammar_syntax`.

    syntax: "lark", "gbnf" or "auto", which looks at the first rule. start: the rule to derive from;
        None is the one that the syntax itself starts with, `start` in Lark and `root` in GBNF.
    """

    kind: ClassVar[str] = "grammar"
    source: str
    syntax: str = "auto"
    start: str | None = None

    def __post_init__(self) -> None:
        _require_text(self.source, "a grammar")
        _require_text(self.syntax, "the syntax of a grammar")
        if self.start is not None:
            _require_text(self.start, "the start rule of a grammar")
        self.to_grammar()

    def _lower(self) -> ir.Grammar:
        return grammar_syntax.lower(self.source, self.syntax, self.start)


_LEAVES = (Regex, JsonSchema, Choices, Grammar, algebra.Text, structural.Special)
_COMBINATIONS = (
    algebra.Sequence,
    algebra.AnyOf,
    algebra.AllOf,
    algebra.Complement,
    algebra.Repeat,
    structural.FreeText,
    structural.Tag,
    structural.Triggered,
)
_KINDS: Mapping[str, type[Constraint]] = MappingProxyType(
    {c.kind: c for c in (*_LEAVES, *_COMBINATIONS)}
)


def from_data(data: Mapping[str, Any]) -> Constraint:
    """Read what `to_data` wrote, validating it as if the user had written it.

    >>> from_data((regex("[a-z]+") | "-").to_data())
    (Regex(pattern='[a-z]+') | '-')
    """
    return _read(data, 0)


def _read(data: Mapping[str, Any], depth: int) -> Constraint:
    options = dict(data)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidConstraint(f"unknown kind of constraint {kind!r}; known: {sorted(_KINDS)}")
    wanted = {f.name for f in fields(_KINDS[kind]) if f.init}
    if unknown := sorted(set(options) - wanted):
        raise InvalidConstraint(f"a {kind} constraint has no field {unknown[0]!r}")
    try:
        return _KINDS[kind](**{name: _value(each, depth) for name, each in options.items()})
    except TypeError as error:
        raise InvalidConstraint(f"a {kind} constraint is incomplete: {error}") from error


def _value(data: Any, depth: int) -> Any:
    """The value of a field: an object is a constraint, a list a tuple."""
    if depth > 2 * MAX_DEPTH:  # a list between each two constraints
        raise ConstraintLimitExceeded(f"constraints combined more than {MAX_DEPTH} deep")
    if isinstance(data, Mapping):
        return _read(data, depth + 1)
    return tuple(_value(item, depth + 1) for item in data) if isinstance(data, list) else data


def regex(pattern: str) -> Regex:
    """The whole text matches `pattern` (as with `re.fullmatch`)."""
    return Regex(pattern)


def json_schema(
    schema: object,
    *,
    whitespace: str = "spaced",
    property_order: str = "declared",
    registry: Mapping[str, object] = MappingProxyType({}),
    lenient: bool = False,
) -> JsonSchema:
    """The text is JSON valid under `schema`.

    A dict or bool is a schema; a str is one as JSON text; anything else is a Python type (pydantic
    model, dataclass, TypedDict, `list[int]`, ...) whose schema is derived. Extra object keys follow
    the specification for a schema (allowed unless `additionalProperties` says otherwise) and are
    never generated for a Python type.

    registry: schemas (dict, bool or JSON text) by URI, for `$ref`s that leave the schema; nothing
    is ever fetched.

    lenient: drop what cannot be enforced instead of refusing the schema; `report()` lists it.
    """
    known = tuple((uri, json_text.dumps(_schema_value(registry[uri]))) for uri in sorted(registry))
    return JsonSchema(
        json_text.dumps(_schema_value(schema)), whitespace, property_order, known, lenient
    )


def _schema_value(schema: object) -> Any:
    """A schema as JSON data, however the user gave it."""
    if isinstance(schema, str):
        return json_text.loads(schema)
    return schema if isinstance(schema, (dict, bool)) else typed.schema_of(schema)


def choices(options: Sequence[str]) -> Choices:
    """The text is exactly one of `options`."""
    if isinstance(options, str):
        raise InvalidConstraint(f"choices takes a list of strings, got the string {options!r}")
    return Choices(tuple(options))


def grammar(source: str, *, syntax: str = "auto", start: str | None = None) -> Grammar:
    """The text is derived by a grammar in Lark's notation or in GBNF.

    >>> grammar('start: "(" start ")" | "x"').to_grammar().start
    Rule(name='start')
    """
    return Grammar(source, syntax, start)
