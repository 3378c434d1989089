"""Objects: declared properties in order, then required ones that are not declared, amid extras.

With `property_order="any"` all of them come in any order (`any_order`).

An extra key is never a declared name. With `patternProperties` extras are told apart by the
patterns they match, on the canonical spelling of the key. Keys may repeat (the last one counts for
every reader): both have the same schema, and no count relies on them being different.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, joined, seq, times
from sestina.lang.expr_match import matches
from sestina.lang.grammar_ir import NOTHING, And, Expr, Part
from sestina.lang.json_schema.any_order import any_order
from sestina.lang.json_schema.counting import AtLeast, Member, counted
from sestina.lang.json_schema.key_classes import canonical, is_match, partition
from sestina.lang.json_schema.keywords import Schema, size
from sestina.lang.json_schema.layout import Layout, parse
from sestina.lang.json_schema.refs import child
from sestina.lang.json_schema.string import any_key_except, quoted

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_UNORDERED = 4  # required but not declared, among extras
MAX_CHOSEN = 100  # ways to meet residual negations


Witness = tuple[Expr, Any]
"""The names and the value of a property that an object must end with, beyond those declared."""


def lower_object(
    compiler: Compiler,
    schema: Schema,
    pointer: str,
    layout: Layout,
    witness: Witness | None = None,
) -> Expr:
    return _Object(compiler, schema, pointer, layout, witness).lower()


class _Object:
    """One object schema being lowered."""

    def __init__(
        self,
        compiler: Compiler,
        schema: Schema,
        pointer: str,
        layout: Layout,
        witness: Witness | None,
    ) -> None:
        self.compiler = compiler
        self.schema = schema
        self.pointer = pointer
        self.layout = layout
        self.inner = layout.inner()
        self.known: Schema = schema.get("properties", {})
        self.required: list[str] = schema.get("required", [])
        self.patterns: Schema = schema.get("patternProperties", {})
        self.other = schema.get("additionalProperties", True)
        self.witness = witness
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
        classes = self.extra_classes(frozenset(names) | needed)
        extra = either(self.extra(*one) for one in classes)
        ending = self.ending(classes)
        if ending is not None and is_nothing(ending):
            return NOTHING
        return self.assembled(members, extra, names, ending)

    def read_names(self) -> Schema:
        """The declared names; with a finite propertyNames also those it lists."""
        allowed = self.schema.get("propertyNames", True)
        if allowed is True or allowed == {}:
            return self.known
        where = child(self.pointer, "propertyNames")
        finite = self.compiler.constants(allowed, where)
        if finite is None:
            self.keys = key_language(self.compiler, allowed, where)
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

    def extra_classes(self, names: frozenset[str]) -> list[tuple[Expr, Any, str]]:
        """Properties that are not declared, by what holds for them: names, schema, keyword."""
        if not self.patterns:
            return [(any_key_except(names), self.other, "additionalProperties")]
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
            found.append((keys, whole, "patternProperties"))
        return found

    def ending(self, classes: list[tuple[Expr, Any, str]]) -> Expr | None:
        """The property that is the witness."""
        if self.witness is None:
            return None
        names, value = self.witness
        return either(
            self.extra(And((names, keys)), self.compiler.both(whole, value), where)
            for keys, whole, where in classes
        )

    def extra(self, keys: Expr, value: Any, where: str) -> Expr:
        if value is False or is_nothing(keys):
            return NOTHING
        text = self.compiler.schema(value, child(self.pointer, where), self.inner)
        if self.keys is not None:
            keys = And((self.keys, keys))
        return seq(keys, self.layout.colon, text)

    def assembled(
        self, members: list[Member], extra: Expr, names: Schema, ending: Expr | None
    ) -> Expr:
        """An object of these members and any number of extras, and then of `ending`."""
        num_needed = sum(not member.may_skip for member in members)
        low, high = size(self.schema, "minProperties", "maxProperties")
        if ending is not None:  # it is one more than those needed
            low = 0 if low <= num_needed + 1 else low
            high = None if high is None else high - 1
        if low - num_needed > 1 and not is_nothing(extra):
            raise UnsupportedConstraint(
                "minProperties that two extra properties may have to meet together",
                pointer=self.pointer,
                keyword="minProperties",
            )
        if high is not None and (high < max(low, num_needed)):
            return NOTHING
        if high is not None and is_nothing(extra) and high >= len(members):
            high = None
        needs = self.others_present(members)
        if self.layout.any_order:
            body = self.in_any_order(members, extra, needs, low, high)
        else:
            room = None if high is None else high - num_needed
            least = [AtLeast(low - num_needed)] if low > num_needed else []
            body = self.in_order(members, extra, names, [*least, *needs], room)
        may_be_empty = not (low or num_needed or needs)
        if ending is not None:
            before = seq(body, self.layout.comma)
            body = seq(times(before, 0, 1) if may_be_empty else before, ending)
            may_be_empty = False
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

    def in_order(
        self,
        members: list[Member],
        extra: Expr,
        names: Schema,
        least: list[AtLeast],
        room: int | None,
    ) -> Expr:
        """The declared members in their order, then all others in any order; none is not meant."""
        comma, fuel = self.layout.comma, self.layout.fuel
        declared = [member for member in members if member.name in names]
        others = [Part(m.text, required=True) for m in members if m.name not in names]
        if len(others) > MAX_UNORDERED and not is_nothing(extra):
            declared, others = members, []

        def tail(missing: int, room: int | None) -> tuple[Expr, bool]:
            rest = Part(extra, required=missing > 0, repeats=True)
            most = None if room is None else room + len(others)
            return any_order([*others, rest], comma, fuel, 1, most), not (others or missing)

        is_any_enough = least == [AtLeast(1)] and all(member.may_skip for member in members)
        if (least and not is_any_enough) or room is not None:
            return counted(declared, tail, self.layout, least, room)
        pairs = [(member.text, member.may_skip) for member in declared]
        rest, may_skip = tail(0, None)
        if not is_nothing(rest):
            pairs.append((rest, may_skip))
        return joined(pairs, comma)[0]

    def in_any_order(
        self,
        members: list[Member],
        extra: Expr,
        needs: list[AtLeast],
        low: int,
        high: int | None,
    ) -> Expr:
        """All members and extras in any order: for each need, with any one that meets it."""
        parts = [Part(m.text, required=not m.may_skip) for m in members]
        parts.append(Part(extra, repeats=True))
        meeting = [
            [i for i, m in enumerate(members) if m.name not in need.exempt] + [len(members)]
            for need in needs
        ]
        if math.prod(map(len, meeting)) > MAX_CHOSEN:
            raise UnsupportedConstraint(
                "negations that so many properties may meet", pointer=self.pointer, keyword="not"
            )
        found = []
        for chosen in product(*meeting):
            some = [replace(p, required=p.required or i in chosen) for i, p in enumerate(parts)]
            found.append(any_order(some, self.layout.comma, self.layout.fuel, max(low, 1), high))
        return either(found)


def key_language(compiler: Compiler, schema: Any, pointer: str) -> Expr:
    """The names, canonically spelled with their quotes, that `propertyNames` allows."""
    if isinstance(schema, bool):
        return any_key_except(frozenset()) if schema else NOTHING
    was, compiler.is_inlining = compiler.is_inlining, True
    try:
        texts = compiler.schema(
            compiler.both({"type": "string"}, schema), pointer, parse("compact")
        )
    finally:
        compiler.is_inlining = was
    return And((any_key_except(frozenset()), texts))
