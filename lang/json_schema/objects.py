"""Objects: declared properties in order, then required ones that are not declared, then extras.

An extra key is never a declared name. With `patternProperties` extras are told apart by the
patterns they match, on the canonical spelling of the key. Keys may repeat (the last one counts for
every reader): both have the same schema, and no count relies on them being different.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, joined, seq, times
from sestina.lang.expr_match import matches
from sestina.lang.grammar_ir import NOTHING, And, Expr
from sestina.lang.json_schema.counting import AtLeast, Member, counted
from sestina.lang.json_schema.key_classes import canonical, is_match, partition
from sestina.lang.json_schema.keywords import Schema, size
from sestina.lang.json_schema.layout import COMPACT, Layout
from sestina.lang.json_schema.refs import child
from sestina.lang.json_schema.string import any_key_except, quoted

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_UNORDERED = 4


def lower_object(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    return _Object(compiler, schema, pointer, layout).lower()


class _Object:
    """One object schema being lowered."""

    def __init__(self, compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> None:
        self.compiler = compiler
        self.schema = schema
        self.pointer = pointer
        self.layout = layout
        self.inner = layout.inner()
        self.known: Schema = schema.get("properties", {})
        self.required: list[str] = schema.get("required", [])
        self.patterns: Schema = schema.get("patternProperties", {})
        self.other = schema.get("additionalProperties", True)
        self.keys: Expr | None = None  # the names that propertyNames allows

    def lower(self) -> Expr:
        if any(self.known.get(name) is False for name in self.required):
            return NOTHING
        names = self.read_names()
        needed = frozenset(self.required)
        members: list[Member] = []
        for name in {**names, **dict.fromkeys(self.required)}:
            text = self.member(name, self.value_of(name, names))
            if is_nothing(text) and name in needed:
                return NOTHING
            if not is_nothing(text):
                members.append(Member(name, text, name not in needed))
        extra = self.extras(frozenset(names) | needed)
        return self.assembled(members, extra, names)

    def read_names(self) -> Schema:
        """The declared names; with a finite propertyNames also those it lists."""
        allowed = self.schema.get("propertyNames", True)
        if allowed is True or allowed == {}:
            return self.known
        where = child(self.pointer, "propertyNames")
        finite = self.compiler.constants(allowed, where)
        if finite is None:
            self.keys = _key_language(self.compiler, allowed, where)
            return self.known
        listed = [name for name in finite if isinstance(name, str)]
        self.keys = either(quoted(name) for name in listed)
        return {**self.known, **{n: self.implied(n) for n in listed if n not in self.known}}

    def implied(self, name: str) -> Any:
        """The schema of a name that is not declared, but for its patterns."""
        return True if any(is_match(p, name) for p in self.patterns) else self.other

    def value_of(self, name: str, names: Schema) -> Any:
        """The schema of a property: what declares it, and every pattern that may match it."""
        if self.keys is not None and not matches(self.keys, canonical(name)):
            return False
        value = names[name] if name in names else self.implied(name)
        for pattern, schema in self.patterns.items():
            if is_match(pattern, name, widest=True):
                value = self.compiler.both(value, schema)
        return value

    def member(self, name: str, value: Any) -> Expr:
        where = ("properties", name) if name in self.known else ("additionalProperties",)
        text = self.compiler.schema(value, child(self.pointer, *where), self.inner)
        return seq(quoted(name), self.layout.colon, text)

    def extras(self, names: frozenset[str]) -> Expr:
        """One property that is not declared, in every way it may be."""
        if not self.patterns:
            return self.extra(any_key_except(names), self.other, "additionalProperties")
        groups: list[tuple[Any, list[str]]] = []
        for pattern, value in self.patterns.items():
            same = next((g for v, g in groups if v is value or v == value), None)
            if same is None:
                groups.append((value, [pattern]))
            else:
                same.append(pattern)
        classes = partition([patterns for _, patterns in groups], names)
        if classes is None:
            raise UnsupportedConstraint(
                "so many patterns that may match the same names",
                pointer=self.pointer,
                keyword="patternProperties",
            )
        found = []
        for keys, matched in classes:
            whole: Any = True if matched else self.other
            for i in sorted(matched):
                whole = self.compiler.both(whole, groups[i][0])
            found.append(self.extra(keys, whole, "patternProperties"))
        return either(found)

    def extra(self, keys: Expr, value: Any, where: str) -> Expr:
        if value is False or is_nothing(keys):
            return NOTHING
        text = self.compiler.schema(value, child(self.pointer, where), self.inner)
        if self.keys is not None:
            keys = And((self.keys, keys))
        return seq(keys, self.layout.colon, text)

    def assembled(self, members: list[Member], extra: Expr, names: Schema) -> Expr:
        comma = self.layout.comma
        num_needed = sum(not member.may_skip for member in members)
        low, high = size(self.schema, "minProperties", "maxProperties")
        least = [AtLeast(low)] if low > num_needed else []
        least += self.others_present(members)
        if high is not None and is_nothing(extra) and high >= len(members):
            high = None
        if low - num_needed > 1 and not is_nothing(extra):
            raise UnsupportedConstraint(
                "minProperties that two extra properties may have to meet together",
                pointer=self.pointer,
                keyword="minProperties",
            )
        if not least and high is None:
            body, may_be_empty = joined(self.pairs(members, extra, names), comma)
        elif least == [AtLeast(1)] and high is None:
            body, may_be_empty = joined(self.pairs(members, extra, names), comma)[0], False
        else:
            body, may_be_empty = counted(members, extra, comma, least, high)
        if is_nothing(body) and not may_be_empty:
            return NOTHING
        return self.layout.container(b"{}", body, may_be_empty=may_be_empty)

    def others_present(self, members: list[Member]) -> list[AtLeast]:
        """For each residual `not` about names: some property that is none of them."""
        found = []
        for leaf in self.schema.get("not", ()):
            if "propertyNames" in leaf:
                exempt = frozenset(leaf["propertyNames"]["enum"])
                if all(m.may_skip or m.name in exempt for m in members):
                    found.append(AtLeast(1, exempt))
        return found

    def pairs(self, members: list[Member], extra: Expr, names: Schema) -> list[tuple[Expr, bool]]:
        """What `joined` takes: the declared members, then all others in any order."""
        comma = self.layout.comma
        undeclared = [m.text for m in members if m.name not in names]
        if is_nothing(extra) or not 0 < len(undeclared) <= MAX_UNORDERED:
            found = [(m.text, m.may_skip) for m in members]
            if not is_nothing(extra):
                found.append((seq(extra, times(seq(comma, extra), 0, None)), True))
            return found
        tail = _any_order(undeclared, extra, comma)
        return [*((m.text, m.may_skip) for m in members if m.name in names), (tail, False)]


def _key_language(compiler: Compiler, schema: Any, pointer: str) -> Expr:
    """The names, canonically spelled with their quotes, that `propertyNames` allows."""
    if isinstance(schema, bool):
        return any_key_except(frozenset()) if schema else NOTHING
    was, compiler.is_inlining = compiler.is_inlining, True
    try:
        texts = compiler.schema(compiler.both({"type": "string"}, schema), pointer, COMPACT)
    finally:
        compiler.is_inlining = was
    return And((any_key_except(frozenset()), texts))


def _any_order(needed: list[Expr], extra: Expr, comma: Expr) -> Expr:
    """All of `needed` in any order, among any number of extras."""
    more = times(seq(comma, extra), 0, None)
    every = frozenset(range(len(needed)))
    after: dict[frozenset[int], Expr] = {every: more}
    for num_done in range(len(needed) - 1, -1, -1):
        for done in map(frozenset, combinations(every, num_done)):
            following = [seq(comma, needed[i], after[done | {i}]) for i in sorted(every - done)]
            after[done] = seq(more, either(following))
    first = [seq(text, after[frozenset({i})]) for i, text in enumerate(needed)]
    return either([*first, seq(extra, after[frozenset()])])
