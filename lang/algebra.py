"""The algebra of constraints: `A | B`, `A & B`, `~A`, `A + B`, `A.repeat(lo, hi)`.

A string beside a constraint is that very text: `"Answer: " + regex(r"\\d+")`. What comes out is a
constraint like any other: frozen, hashable, equal by value, ready to be sent.

Languages here are sets of texts. `~A` is every *text* that A does not match, so no broken UTF-8;
control tokens are no text, and have no place under `&` and `~`. Context-free languages are closed
under neither (Hopcroft and Ullman 1979, section 6.2), so `&` takes one recursive operand at most
and `~` none; a JSON Schema that allows any JSON value somewhere is recursive.

>>> from sestina import choices, regex
>>> "Answer: " + (regex("[a-z]+") & ~choices(["maybe"]))
('Answer: ' + (Regex(pattern='[a-z]+') & ~Choices(options=('maybe',))))
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintLimitExceeded, InvalidConstraint, UnsupportedConstraint
from sestina.lang.expr import either, seq
from sestina.lang.grammar_merge import Merger, facts

MAX_DEPTH = 64
MAX_PARTS = 100_000
MAX_REPEAT = 1 << 20

ANY_TEXT = ir.star(ir.chars(ir.ANY_CHAR))


@dataclass(frozen=True, slots=True)
class Constraint:
    """Base of all constraints. Subclasses give `kind` and lower themselves in `_lower`."""

    kind: ClassVar[str] = ""

    def to_grammar(self) -> ir.Grammar:
        """The language; raises a ConstraintError. Cached, so that asking twice costs nothing."""
        return _lowered(self)

    def to_data(self) -> dict[str, Any]:
        """JSON-ready data; `sestina.lang.constraint.from_data` reads it back."""
        data: dict[str, Any] = {"kind": self.kind}
        data |= {f.name: _data_of(getattr(self, f.name)) for f in fields(self) if f.init}
        return data

    def __add__(self, other: Constraint | str) -> Constraint:
        """This text, then the other."""
        return _sequence(self, other) if _is_operand(other) else NotImplemented

    def __radd__(self, other: Constraint | str) -> Constraint:
        return _sequence(other, self) if _is_operand(other) else NotImplemented

    def __or__(self, other: Constraint | str) -> Constraint:
        """What one of the two matches."""
        return _combined(AnyOf, self, other) if _is_operand(other) else NotImplemented

    def __ror__(self, other: Constraint | str) -> Constraint:
        return _combined(AnyOf, other, self) if _is_operand(other) else NotImplemented

    def __and__(self, other: Constraint | str) -> Constraint:
        """What both match; UnsupportedConstraint if both are recursive."""
        return _combined(AllOf, self, other) if _is_operand(other) else NotImplemented

    def __rand__(self, other: Constraint | str) -> Constraint:
        return _combined(AllOf, other, self) if _is_operand(other) else NotImplemented

    def __invert__(self) -> Constraint:
        """Every text that this does not match; UnsupportedConstraint if this is recursive."""
        return Complement(self)

    def repeat(self, lo: int, hi: int | None) -> Constraint:
        """lo to hi copies; hi None is as many as one likes."""
        return Repeat(self, lo, hi)

    def optional(self) -> Constraint:
        """This, or the empty text."""
        return Repeat(self, 0, 1)

    def _lower(self) -> ir.Grammar:
        raise NotImplementedError(f"{type(self).__name__} does not lower itself")

    def _lower_until(self, ends: tuple[Constraint, ...], merger: Merger) -> ir.Expr:
        """This, then one of `ends`; free text that this ends with does not contain them."""
        return seq(merger.start(self.to_grammar()), one_of(ends, merger))

    def _ends_freely(self) -> bool:
        """Whether this may end with free text, so that `_lower_until` has to look into it."""
        return False


@dataclass(frozen=True, slots=True, repr=False)
class Text(Constraint):
    """Exactly this text: what a string beside a constraint becomes."""

    kind: ClassVar[str] = "text"
    text: str

    def __post_init__(self) -> None:
        require_text(self.text, "a text")

    def __repr__(self) -> str:
        return repr(self.text)

    def _lower(self) -> ir.Grammar:
        return ir.Grammar(ir.literal(self.text))


@dataclass(frozen=True, slots=True)
class Combination(Constraint):
    """Base of constraints made of others; bounds their size, since they are walked recursively."""

    depth: int = field(init=False, repr=False, compare=False)
    num_parts: int = field(init=False, repr=False, compare=False)

    def _measure(self, parts: Iterable[Constraint]) -> None:
        """Check that the parts are constraints, and that there are not too many of them."""
        depth, num_parts = 0, 1
        for part in parts:
            if not isinstance(part, Constraint):
                raise InvalidConstraint(
                    f"{self.kind} is made of constraints, got {type(part).__name__}"
                )
            inside = part if isinstance(part, Combination) else None
            depth = max(depth, inside.depth if inside else 0)
            num_parts += inside.num_parts if inside else 1
        if depth >= MAX_DEPTH:
            raise ConstraintLimitExceeded(f"constraints combined more than {MAX_DEPTH} deep")
        if num_parts > MAX_PARTS:
            raise ConstraintLimitExceeded(f"a combination of more than {MAX_PARTS} constraints")
        object.__setattr__(self, "depth", depth + 1)
        object.__setattr__(self, "num_parts", num_parts)


@dataclass(frozen=True, slots=True)
class Operation(Combination):
    """Base of what `+`, `|` and `&` make of several constraints."""

    sign: ClassVar[str] = ""
    items: tuple[Constraint, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.items, tuple) or not self.items:
            raise InvalidConstraint(f"{self.kind} takes a tuple of one constraint or more")
        self._measure(self.items)

    def __repr__(self) -> str:
        return "(" + f" {self.sign} ".join(map(repr, self.items)) + ")"


@dataclass(frozen=True, slots=True, repr=False)
class Sequence(Operation):
    """One after the other: `A + B`."""

    kind: ClassVar[str] = "sequence"
    sign: ClassVar[str] = "+"

    def _lower(self) -> ir.Grammar:
        merger = Merger()
        return merger.grammar(seq(*(merger.start(item.to_grammar()) for item in self.items)))

    def _lower_until(self, ends: tuple[Constraint, ...], merger: Merger) -> ir.Expr:
        *first, last = self.items
        before = [merger.start(item.to_grammar()) for item in first]
        return seq(*before, last._lower_until(ends, merger))

    def _ends_freely(self) -> bool:
        return self.items[-1]._ends_freely()


@dataclass(frozen=True, slots=True, repr=False)
class AnyOf(Operation):
    """One of them: `A | B`."""

    kind: ClassVar[str] = "any_of"
    sign: ClassVar[str] = "|"

    def _lower(self) -> ir.Grammar:
        merger = Merger()
        return merger.grammar(one_of(self.items, merger))

    def _lower_until(self, ends: tuple[Constraint, ...], merger: Merger) -> ir.Expr:
        return either([item._lower_until(ends, merger) for item in self.items])

    def _ends_freely(self) -> bool:
        return any(item._ends_freely() for item in self.items)


@dataclass(frozen=True, slots=True, repr=False)
class AllOf(Operation):
    """All of them at once: `A & B`."""

    kind: ClassVar[str] = "all_of"
    sign: ClassVar[str] = "&"

    def __post_init__(self) -> None:
        Operation.__post_init__(self)
        recursive = []
        for item in self.items:
            rule = _recursion(item, "&")
            if rule is not None:
                recursive.append(f"{item!r:.80} (its rule {rule!r})")
        if len(recursive) > 1:
            raise UnsupportedConstraint(
                f"A & B of two recursive constraints: {recursive[0]} and {recursive[1]}; the "
                "intersection of two context-free languages need not be context-free. Two JSON "
                'Schemas can be joined as {"allOf": [...]}',
                keyword="&",
            )

    def _lower(self) -> ir.Grammar:
        merger = Merger()
        refused = [i.item for i in self.items if isinstance(i, Complement)]
        wanted = [i for i in self.items if not isinstance(i, Complement)]
        texts = [merger.start(item.to_grammar()) for item in wanted] or [ANY_TEXT]
        nots = [ir.Not(merger.start(item.to_grammar())) for item in refused]
        return merger.grammar(ir.And((*texts, *nots)))

    def _lower_until(self, ends: tuple[Constraint, ...], merger: Merger) -> ir.Expr:
        if not self._ends_freely():
            return Constraint._lower_until(self, ends, merger)
        if not all(isinstance(end, Text) for end in ends):
            raise UnsupportedConstraint("free text under '&', ended by a control token")
        # No end contains another, so that all items see the same end.
        return ir.And(tuple(item._lower_until(ends, merger) for item in self.items))

    def _ends_freely(self) -> bool:
        return any(item._ends_freely() for item in self.items)


@dataclass(frozen=True, slots=True, repr=False)
class Complement(Combination):
    """Every text that `item` does not match: `~A`."""

    kind: ClassVar[str] = "complement"
    item: Constraint

    def __post_init__(self) -> None:
        self._measure([self.item])
        rule = _recursion(self.item, "~")
        if rule is not None:
            raise UnsupportedConstraint(
                f"~A of a recursive constraint: {self.item!r:.80} (its rule {rule!r}); the "
                "complement of a context-free language need not be context-free",
                keyword="~",
            )

    def __repr__(self) -> str:
        return f"~{self.item!r}"

    def __invert__(self) -> Constraint:
        return self.item

    def _lower(self) -> ir.Grammar:
        grammar = self.item.to_grammar()
        return ir.Grammar(ir.And((ANY_TEXT, ir.Not(grammar.start))), grammar.rules)


@dataclass(frozen=True, slots=True, repr=False)
class Repeat(Combination):
    """lo to hi copies of `item`, one after the other; hi None is unbounded."""

    kind: ClassVar[str] = "repeat"
    item: Constraint
    lo: int
    hi: int | None

    def __post_init__(self) -> None:
        self._measure([self.item])
        for name, count in (("lo", self.lo), ("hi", self.hi)):
            if name == "hi" and count is None:
                continue
            if not isinstance(count, int) or isinstance(count, bool):
                raise InvalidConstraint(f"repeat: {name} must be an integer, got {count!r:.80}")
            if not 0 <= count <= MAX_REPEAT:
                raise InvalidConstraint(f"repeat: {name} must be in [0, {MAX_REPEAT}], not {count}")
        if self.hi is not None and self.hi < self.lo:
            raise InvalidConstraint(f"repeat: {self.lo} to {self.hi} copies")

    def __repr__(self) -> str:
        return f"{self.item!r}.repeat({self.lo}, {self.hi})"

    def _lower(self) -> ir.Grammar:
        grammar = self.item.to_grammar()
        return ir.Grammar(ir.Repeat(grammar.start, self.lo, self.hi), grammar.rules)

    def _lower_until(self, ends: tuple[Constraint, ...], merger: Merger) -> ir.Expr:
        if not self._ends_freely():
            return Constraint._lower_until(self, ends, merger)
        if self.hi is None or self.hi > 1:
            raise UnsupportedConstraint(
                f"free text again and again before an end: {self!r:.80}; once is enough"
            )
        once = self.item._lower_until(ends, merger)
        return once if self.lo else either([one_of(ends, merger), once])

    def _ends_freely(self) -> bool:
        return self.hi != 0 and self.item._ends_freely()


def as_constraint(part: Constraint | str) -> Constraint:
    """A constraint as it is, a string as exactly that text."""
    if isinstance(part, Constraint):
        return part
    if isinstance(part, str):
        return Text(part)
    raise InvalidConstraint(f"a constraint or a string is needed, got {type(part).__name__}")


def one_of(items: Iterable[Constraint], merger: Merger) -> ir.Expr:
    """What one of the items matches, their rules taken in by `merger`."""
    return either([merger.start(item.to_grammar()) for item in items])


def require_text(value: object, what: str) -> None:
    """Refuse what is not a str of Unicode scalar values: it has no UTF-8 form."""
    if not isinstance(value, str):
        raise InvalidConstraint(f"{what} must be a string, got {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidConstraint(
            f"{what} holds a lone surrogate", source=value, position=error.start
        ) from None


@functools.lru_cache(maxsize=256)
def _lowered(constraint: Constraint) -> ir.Grammar:
    return constraint._lower()


def _data_of(value: Any) -> Any:
    if isinstance(value, Constraint):
        return value.to_data()
    return [_data_of(item) for item in value] if isinstance(value, tuple) else value


def _is_operand(value: object) -> bool:
    return isinstance(value, (Constraint, str))


def _sequence(first: Constraint | str, second: Constraint | str) -> Constraint:
    """Flat, texts that meet joined: however it is put together, it is the same value."""
    flat: list[Constraint] = []
    for part in (as_constraint(first), as_constraint(second)):
        items = part.items if isinstance(part, Sequence) else (part,)
        head, last = items[0], flat[-1] if flat else None
        if isinstance(head, Text) and isinstance(last, Text):
            items = (Text(last.text + head.text), *items[1:])
            flat.pop()
        flat += items if items != (Text(""),) else ()
    if len(flat) < 2:
        return flat[0] if flat else Text("")
    return Sequence(tuple(flat))


def _combined(
    kind: type[Operation], first: Constraint | str, second: Constraint | str
) -> Constraint:
    """Flat, and each operand once."""
    found: dict[Constraint, None] = {}
    for part in (as_constraint(first), as_constraint(second)):
        found |= dict.fromkeys(part.items if type(part) is kind else (part,))
    return kind(tuple(found)) if len(found) > 1 else next(iter(found))


def _recursion(operand: Constraint, sign: str) -> str | None:
    """A recursive rule of an operand; control tokens are refused."""
    rule, special = facts(operand.to_grammar())
    if special is not None:
        raise UnsupportedConstraint(
            f"{operand!r:.80} has the control token {special!r} in it, which is no text, under "
            f"{sign!r}",
            keyword=sign,
        )
    return rule
