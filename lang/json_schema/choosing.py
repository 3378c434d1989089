"""A schema with several alternatives as the schemas that are left once each is chosen from.

Several negations multiply, so what cannot be is left out as early as it shows: an alternative with
one branch left is no choice, one that holds already is none either, and of the others that with the
fewest branches comes first (Davis, Logemann and Loveland 1962, "A machine program for theorem
proving", and the first-fail principle of Haralick and Elliott 1980).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from sestina.lang.errors import InvalidConstraint
from sestina.lang.json_schema.contradiction import exclude, implies
from sestina.lang.json_schema.keywords import APPLICATORS, Schema

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler


class Part(NamedTuple):
    """A schema, and the references that led to it."""

    schema: Any
    through: tuple[str, ...] = ()


class Choice(NamedTuple):
    """Parts of which at least one holds, or exactly one."""

    branches: tuple[Part, ...]
    is_exclusive: bool


class Way(NamedTuple):
    """What holds, without applicators, and what is still to be chosen."""

    whole: Any
    choices: tuple[Choice, ...]


# So often the same reference may be followed through references: negations of a oneOf mention its
# branches again.
MAX_TURNS = 3

_NO_WAY = Way(False, ())
_ANY = Part(True)


def ways(compiler: Compiler, schema: Schema, pointer: str) -> Iterator[Any]:
    """Schemas without applicators, one of which holds exactly where `schema` does."""
    chooser = _Chooser(compiler, pointer)
    pending = [chooser.joined(Way(True, ()), Part(schema))]
    while pending:
        way = chooser.narrowed(pending.pop())
        if way.choices:
            pending += reversed(chooser.split(way))
        elif way.whole is not False:
            yield way.whole


class _Chooser:
    def __init__(self, compiler: Compiler, pointer: str) -> None:
        self.compiler = compiler
        self.pointer = pointer

    def joined(self, way: Way, part: Part) -> Way:
        """The way where this holds too."""
        whole, choices = way
        pending = [part]
        while pending:
            schema, through = pending.pop()
            schema = self.compiler.checked(schema, self.pointer)
            plain = True if schema is True else self.plain(schema)
            if isinstance(plain, bool):
                whole = plain and whole
            elif "$ref" in plain:
                rest = self.compiler.without(plain, "$ref")
                pending += [Part(rest, through), self.followed(Part(plain, through))]
            else:
                rest = self.compiler.without(plain, *APPLICATORS)
                whole = self.compiler.conjunction(whole, rest, self.pointer)
                pending += [Part(one, through) for one in reversed(plain.get("allOf", ()))]
                choices += self.choices(plain, through)
            if whole is False:
                return _NO_WAY
        return Way(whole, choices)

    def plain(self, schema: Any) -> Any:
        return schema if isinstance(schema, bool) else self.compiler.plain(schema, self.pointer)

    def followed(self, part: Part) -> Part:
        """What a reference leads to."""
        target, place = self.compiler.resolve(part.schema["$ref"], self.pointer)
        if part.through.count(place) > MAX_TURNS:
            raise InvalidConstraint(
                "the schema refers to itself without anything in between",
                pointer=place,
                keyword="$ref",
            )
        return Part(target, (*part.through, place))

    def choices(self, schema: Schema, through: tuple[str, ...]) -> tuple[Choice, ...]:
        return tuple(
            Choice(
                tuple(self.resolved(Part(branch, through)) for branch in schema[keyword]),
                keyword == "oneOf",
            )
            for keyword in ("anyOf", "oneOf")
            if keyword in schema
        )

    def resolved(self, part: Part) -> Part:
        """What is behind references that have nothing beside them."""
        while isinstance(part.schema, dict) and part.schema.keys() == {"$ref"}:
            part = self.followed(part)
        return part

    def narrowed(self, way: Way) -> Way:
        """The way without branches that cannot hold, nor choices that are none."""
        num_joined = -1
        while num_joined:  # with more that holds, less is left of the choices
            num_joined = 0
            pending, kept, whole = list(way.choices), list[Choice](), way.whole
            for choice in pending:  # grows while it is walked
                live = self.live(whole, choice)
                if len(live) > 1:
                    kept.append(Choice(live, choice.is_exclusive))
                elif live and live[0].schema is not True:
                    num_joined += 1
                    whole, more = self.joined(Way(whole, ()), live[0])
                    pending += more
                if not live or whole is False:
                    return _NO_WAY
            way = Way(whole, tuple(kept))
        return way

    def live(self, whole: Any, choice: Choice) -> tuple[Part, ...]:
        """The branches that may hold; only True if the choice holds anyway."""
        num_denied = len(whole.get("not", ())) if isinstance(whole, dict) else 0
        self.compiler.look(len(choice.branches) * (1 + num_denied // 8), self.pointer)
        first, known = self.compiler.contents.first, self.compiler.compared
        whole = first(whole)
        live = tuple(p for p in choice.branches if not exclude(whole, first(p.schema), known))
        if choice.is_exclusive and len(live) > 1:
            return live
        return (_ANY,) if any(implies(whole, first(p.schema), known) for p in live) else live

    def split(self, way: Way) -> list[Way]:
        """A way for each branch of one choice."""
        choice = min(way.choices, key=lambda one: len(one.branches))
        others = tuple(one for one in way.choices if one is not choice)
        branches = [part.schema for part in choice.branches]
        if choice.is_exclusive:
            branches = self.compiler.exclusive(branches, self.pointer, way.whole)
        rest = Way(way.whole, others)
        return [
            self.joined(rest, Part(branch, part.through))
            for branch, part in zip(branches, choice.branches, strict=True)
        ]
