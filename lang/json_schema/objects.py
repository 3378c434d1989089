"""Objects: declared properties in order, then required ones that are not declared, amid extras.

With `property_order="any"` all of them come in any order (`any_order`).

An extra key is never a declared name. With `patternProperties` extras are told apart by the
patterns they match, on the canonical spelling of the key. Keys may repeat (the last one counts for
every reader): both have the same schema, and counts rely only on names that are surely different
(`telling_apart`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING, Any, NoReturn

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, joined, maybe, seq
from sestina.lang.expr_match import matches
from sestina.lang.grammar_ir import NOTHING, And, Concat, Expr, Literal, Part
from sestina.lang.json_schema import telling_apart
from sestina.lang.json_schema.any_order import any_order
from sestina.lang.json_schema.breaches import Breach, Breaching
from sestina.lang.json_schema.counting import AtLeast, Member, counted
from sestina.lang.json_schema.finite import plain_constants
from sestina.lang.json_schema.key_classes import canonical, is_match, names_of, partition
from sestina.lang.json_schema.keywords import Schema, size
from sestina.lang.json_schema.layout import Layout, parse
from sestina.lang.json_schema.merge import remainders
from sestina.lang.json_schema.refs import child
from sestina.lang.json_schema.string import any_key_except, quoted

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_UNORDERED = 4  # required but not declared, among extras
MAX_CHOSEN = 100  # ways to meet residual negations


def lower_object(
    compiler: Compiler,
    schema: Schema,
    pointer: str,
    layout: Layout,
    breaches: Sequence[Breach] = (),
) -> Expr:
    """The objects of a schema; with `breaches` those whose extra properties break these rules."""
    return _Object(compiler, schema, pointer, layout, breaches).lower()


class _Object:
    """One object schema being lowered."""

    def __init__(
        self,
        compiler: Compiler,
        schema: Schema,
        pointer: str,
        layout: Layout,
        breaches: Sequence[Breach],
    ) -> None:
        self.compiler = compiler
        self.schema = schema
        self.pointer = pointer
        self.layout = layout
        self.inner = layout.inner()
        self.known: Schema = schema.get("properties", {})
        self.required: list[str] = schema.get("required", [])
        self.patterns: Schema = schema.get("patternProperties", {})
        self.others = remainders(schema)
        self.breaches = breaches
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
        missing = size(self.schema, "minProperties", "maxProperties")[0] - len(needed)
        extras = self.extras(classes, missing)
        return self.assembled(members, extras, names, self.breaching(classes))

    def read_names(self) -> Schema:
        """The declared names; with a finite propertyNames also those it lists."""
        allowed = self.schema.get("propertyNames", True)
        if allowed is True or allowed == {}:
            return self.known
        where = child(self.pointer, "propertyNames")
        finite = plain_constants(self.compiler, allowed, where)
        if finite is None:
            self.keys = key_language(self.compiler, allowed, where)
            return self.known
        listed = [name for name in finite if isinstance(name, str)]
        self.keys = either(quoted(name) for name in listed)
        return {**self.known, **{n: self.implied(n) for n in listed if n not in self.known}}

    def implied(self, name: str) -> Any:
        """The schema of a name that is not declared, but for its patterns."""
        found: Any = True
        for one in self.others:
            if name not in one["properties"] and not any(
                is_match(p, name) for p in one["patternProperties"]
            ):
                found = self.compiler.both(found, one["additionalProperties"])
        return found

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
        if is_nothing(text):
            return NOTHING
        head = seq(quoted(name), self.layout.colon)
        # The text stays whole: others have it too.
        parts = head.items if type(head) is Concat else (head,)
        return Concat((*parts, text))

    def extra_classes(self, names: frozenset[str]) -> list[tuple[Expr, Any, str]]:
        """Properties that are not declared, by what holds for them: names, schema, keyword."""
        groups = self.pattern_groups()
        if not groups:
            whole = reduce(self.compiler.both, self.left_over(frozenset()), True)
            return [(any_key_except(names), whole, "additionalProperties")]
        patterns = [some for _, some in groups]
        classes = partition(patterns)
        if classes is None:
            raise UnsupportedConstraint(
                "so many patterns that may match the same names",
                pointer=self.pointer,
                keyword="patternProperties",
            )
        found = []
        for one in classes:
            values = [groups[i][0] for i in one.matched]
            met = frozenset(pattern for i in one.matched for pattern in patterns[i])
            whole = reduce(self.compiler.both, (*self.left_over(met), *values), True)
            if whole is not False:
                found.append((names_of(one, patterns, names), whole, "patternProperties"))
        return found

    def pattern_groups(self) -> list[tuple[Any, list[str]]]:
        """Patterns with one schema, which the same additionalProperties leave out."""
        groups: list[tuple[Any, list[str], list[bool]]] = []
        for pattern, value in self.patterns.items():
            left_out = [pattern in one["patternProperties"] for one in self.others]
            for known, patterns, same in groups:
                if same == left_out and (known is value or known == value):
                    patterns.append(pattern)
                    break
            else:
                groups.append((value, [pattern], left_out))
        return [(value, patterns) for value, patterns, _ in groups]

    def left_over(self, met: frozenset[str]) -> list[Any]:
        """The additionalProperties of names that match one of each of these groups of patterns."""
        return [
            one["additionalProperties"]
            for one in self.others
            if met.isdisjoint(one["patternProperties"])
        ]

    def breaching(self, classes: list[tuple[Expr, Any, str]]) -> Breaching | None:
        """Extra properties that break the rules that have to be broken."""
        if not self.breaches:
            return None

        def write(names: Expr, breaking: frozenset[int]) -> Expr:
            broken = [self.breaches[i].value for i in sorted(breaking)]
            return either(
                self.extra(And((names, keys)), reduce(self.compiler.both, broken, whole), where)
                for keys, whole, where in classes
            )

        return Breaching(self.breaches, write, self.layout.comma, self.layout.fuel)

    def extra(self, keys: Expr, value: Any, where: str) -> Expr:
        if value is False or is_nothing(keys):
            return NOTHING
        text = self.compiler.schema(value, child(self.pointer, where), self.inner)
        if self.keys is not None:
            keys = And((self.keys, keys))
        return seq(keys, self.layout.colon, text)

    def extras(self, classes: list[tuple[Expr, Any, str]], missing: int) -> list[Expr]:
        """Extra properties; if several of them may be missing, those that surely differ apart."""
        if missing <= 1:
            return [either(self.extra(*one) for one in classes)]
        apart, others = list[Expr](), list[tuple[Expr, Any, str]]()
        for names, value, where in classes:
            keys = names if self.keys is None else And((self.keys, names))
            known = telling_apart.listed(keys)
            apart += [self.extra(Literal(name), value, where) for name in known or ()]
            others += [(keys, value, where)] if known is None and value is not False else []
        if not others:
            return apart
        if missing > len(apart) + telling_apart.most_classes(keys for keys, _, _ in others):
            self.refuse_count()
        apart += [
            either(self.extra(And((keys, alike)), value, where) for keys, value, where in others)
            for alike in telling_apart.classes()
        ]
        return apart

    def refuse_count(self) -> NoReturn:
        raise UnsupportedConstraint(
            "minProperties that so many extra properties may have to meet together",
            pointer=self.pointer,
            keyword="minProperties",
        )

    def assembled(
        self,
        members: list[Member],
        extras: list[Expr],
        names: Schema,
        breaching: Breaching | None,
    ) -> Expr:
        """An object of these members and any number of extras, or of those that break rules."""
        num_needed = sum(not member.may_skip for member in members)
        low, high = size(self.schema, "minProperties", "maxProperties")
        has_extras = not all(map(is_nothing, extras))
        if breaching and not self.layout.any_order and has_extras and low - num_needed > 1:
            self.refuse_count()
        if high is not None and (high < max(low, num_needed)):
            return NOTHING
        if high is not None and not has_extras and high >= len(members):
            high = None
        needs = self.others_present(members)
        if self.layout.any_order:
            body = self.in_any_order(members, extras, needs, low, high, breaching)
        else:
            room = None if high is None else high - num_needed
            least = [AtLeast(low - num_needed)] if low > num_needed else []
            body = self.in_order(members, extras, names, [*least, *needs], room, breaching)
        may_be_empty = not (low or num_needed or needs or breaching)
        if is_nothing(body) and not may_be_empty:
            return NOTHING
        return self.layout.container(b"{}", body, may_be_empty=may_be_empty)

    def others_present(self, members: list[Member]) -> list[AtLeast]:
        """For each residual `not` about names: some property that is none of them.

        What is none of some names is none of fewer: of such needs the larger one is enough.
        """
        if "not" not in self.schema:
            return []
        names = frozenset(member.name for member in members)
        exempts = {
            names.intersection(leaf["propertyNames"]["enum"])
            for leaf in self.schema.get("not", ())
            if "propertyNames" in leaf
        }
        return [
            AtLeast(1, exempt)
            for exempt in sorted(exempts, key=sorted)
            if not any(exempt < other for other in exempts)
            and all(m.may_skip or m.name in exempt for m in members)
        ]

    def in_order(
        self,
        members: list[Member],
        extras: list[Expr],
        names: Schema,
        least: list[AtLeast],
        room: int | None,
        breaching: Breaching | None,
    ) -> Expr:
        """The declared members in their order, then all others in any order; none is not meant."""
        comma = self.layout.comma
        declared = [member for member in members if member.name in names]
        others = [Part(m.text, required=True) for m in members if m.name not in names]
        has_extras = not all(map(is_nothing, extras))
        if breaching or (len(others) > MAX_UNORDERED and has_extras):
            declared, others = members, []

        def tail(missing: int, room: int | None) -> tuple[Expr, bool]:
            if breaching:
                return NOTHING if missing > 1 else breaching.lower(room), False
            low, most = len(others) + missing, None if room is None else room + len(others)
            parts = [*others, *(Part(extra, repeats=True) for extra in extras)]
            return any_order(parts, comma, max(low, 1), most), not low

        is_any_enough = least == [AtLeast(1)] and all(member.may_skip for member in members)
        if (least and not is_any_enough) or room is not None:
            return counted(declared, tail, self.layout, least, room)
        pairs = [(member.text, member.may_skip) for member in declared]
        rest, may_skip = tail(0, None)
        if not is_nothing(rest) or not may_skip:
            pairs.append((rest, may_skip))
        return joined(pairs, comma)[0]

    def in_any_order(
        self,
        members: list[Member],
        extras: list[Expr],
        needs: list[AtLeast],
        low: int,
        high: int | None,
        breaching: Breaching | None,
    ) -> Expr:
        """All members and extras in any order, then extras that break rules if some have to."""
        if not breaching:
            return self.amid(members, extras, needs, max(low, 1), high)
        comma, num_needed = self.layout.comma, sum(not member.may_skip for member in members)
        low = 0 if low <= num_needed + 1 else low  # those that break a rule are one more
        found = []
        for most in [None] if high is None else range(1, min(high, len(self.breaches)) + 1):
            room = None if high is None or most is None else high - most
            before = self.amid(members, extras, needs, max(low, 1), room)
            may_be_empty = not (low or num_needed or needs)
            before = seq(before, comma)
            found.append(seq(maybe(before) if may_be_empty else before, breaching.lower(most)))
        return either(found)

    def amid(
        self,
        members: list[Member],
        extras: list[Expr],
        needs: list[AtLeast],
        low: int,
        high: int | None,
    ) -> Expr:
        """Members and extras in any order: for each need, with any one that meets it."""
        parts = [Part(m.text, required=not m.may_skip) for m in members]
        others = range(len(parts), len(parts) + len(extras))
        parts += [Part(extra, repeats=True) for extra in extras]
        meeting = [
            [*(i for i, m in enumerate(members) if m.name not in need.exempt), *others]
            for need in needs
        ]
        if math.prod(map(len, meeting)) > MAX_CHOSEN:
            raise UnsupportedConstraint(
                "negations that so many properties may meet", pointer=self.pointer, keyword="not"
            )
        found = []
        for chosen in product(*meeting):
            some = [replace(p, required=p.required or i in chosen) for i, p in enumerate(parts)]
            found.append(any_order(some, self.layout.comma, low, high))
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
