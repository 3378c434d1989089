"""From definitions as read to a grammar that a runtime can enforce."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    ConstraintError,
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsatisfiableConstraint,
    UnsupportedConstraint,
)
from sestina.lang.expr import seq
from sestina.lang.grammar_syntax.extension import extension, first_bytes
from sestina.lang.grammar_syntax.ignored import MAX_KINDS, IgnoredRuns, kinds_of
from sestina.lang.grammar_syntax.left_recursion import without_left_recursion
from sestina.lang.grammar_syntax.references import (
    Bodies,
    acyclic_order,
    inline_small,
    mentions,
    postorder,
    reachable,
    substitute,
)
from sestina.lang.grammar_syntax.source import Source
from sestina.lang.grammar_syntax.tail_recursion import without_tail_recursion
from sestina.lang.grammar_syntax.templates import instantiate
from sestina.lang.grammar_syntax.values import NO_TEXT, Values

MAX_INLINE = 1_000
"""Nodes of a definition that is written out wherever it is used."""

MAX_INLINE_TOTAL = 50_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the source an error is."""

    text: str
    position: int

    def error(self, kind: type[ConstraintError], message: str) -> ConstraintError:
        return kind(message, keyword="%ignore", source=self.text, position=self.position)


def lower_source(source: Source, start: str) -> ir.Grammar:
    """The language of the rule `start`; raises a ConstraintError."""
    _check_names(source)
    if start not in source.definitions or source.definitions[start].params:
        raise InvalidConstraint(
            f"the grammar has no rule {start!r} to start with; start= names another",
            keyword=start,
            source=source.text,
            position=0,
        )
    definitions = instantiate(source)
    terminals = {n: d.body for n, d in definitions.items() if d.is_terminal}
    _check_terminals(source, terminals)
    rules = {n: d.body for n, d in definitions.items() if not d.is_terminal}
    ignored = {f"%ignored {at}": each.body for at, each in enumerate(source.ignored)}
    lexical = inline_small({**terminals, **ignored, **source.merged}, MAX_INLINE, MAX_INLINE_TOTAL)
    _check_boolean(source, {name: lexical[name] for name in (*terminals, *ignored)})
    tokens: Bodies = {name: ir.Rule(name) for name in terminals}
    at_end: ir.Expr = ir.EPSILON
    if ignored:
        _check_not_empty(source, lexical, rules)
        runs = _ignored_runs(source, lexical)
        tokens = {name: runs.before(token) for name, token in tokens.items()}
        at_end = runs.at_end()
    bodies = {**lexical, **{name: substitute(body, tokens.get) for name, body in rules.items()}}
    bodies[_START] = seq(tokens.get(start, ir.Rule(start)), at_end)
    bodies = inline_small(without_tail_recursion(bodies), MAX_INLINE, MAX_INLINE_TOTAL)
    return _finished(source, start, bodies)


def _ignored_runs(source: Source, lexical: Bodies) -> IgnoredRuns:
    """What may stand before terminals; refuses ignored text whose longest match is not local."""
    values = Values(lexical)

    def first(expr: ir.Expr) -> int:
        if isinstance(expr, ir.Rule):
            return first_bytes(lexical[expr.name], values.starts_empty, lexical.__getitem__)
        return first_bytes(expr, Values({"": expr}).starts_empty, lexical.__getitem__)

    kinds = []
    for at, definition in enumerate(source.ignored):
        body = lexical[f"%ignored {at}"]
        longer = extension(body)
        place = _Place(source.text, definition.position)
        if values.starts_empty(body):
            raise place.error(InvalidConstraint, "ignored text may not be empty")
        if longer is None:
            raise place.error(
                UnsupportedConstraint,
                "ignored text of which one byte more does not tell whether the match goes on",
            )
        kinds.append((longer, body))
    by_extension = kinds_of(kinds)
    if len(by_extension) > MAX_KINDS:
        place = _Place(source.text, source.ignored[0].position)
        raise place.error(UnsupportedConstraint, "so many different kinds of ignored text")
    return IgnoredRuns(by_extension, first)


def _check_not_empty(source: Source, lexical: Bodies, rules: Bodies) -> None:
    """Beside ignored text an empty terminal would cut a run of it in two, as Lark has it."""
    values = Values(lexical)
    for name in dict.fromkeys(name for body in rules.values() for name in mentions(body)):
        if name in lexical and values.starts_empty(lexical[name]):
            raise InvalidConstraint(
                f"the terminal {name} may be empty, which ignored text does not allow",
                keyword=name,
                source=source.text,
                position=source.definitions[name].position,
            )


def _finished(source: Source, start: str, bodies: Bodies) -> ir.Grammar:
    """The part of the rules that is used, without left recursion."""
    bodies = {name: bodies[name] for name in [_START, *reachable(bodies[_START], bodies)]}
    values = Values(bodies)
    if values[bodies[_START]] == NO_TEXT:
        raise UnsatisfiableConstraint(
            f"no text is derived by the rule {start}",
            keyword=start,
            source=source.text,
            position=source.definitions[start].position,
        )
    try:
        bodies = without_left_recursion(bodies, values)
    except ConstraintLimitExceeded as error:
        _point(source, error)
    body = bodies.pop(_START)
    return ir.Grammar(body, MappingProxyType({n: bodies[n] for n in reachable(body, bodies)}))


def _point(source: Source, error: ConstraintLimitExceeded) -> NoReturn:
    """The same error with the place of the rule that it names."""
    definition = source.definitions.get(error.keyword or "")
    raise ConstraintLimitExceeded(
        error.reason,
        keyword=error.keyword,
        source=source.text,
        position=0 if definition is None else definition.position,
    ) from None


def _check_names(source: Source) -> None:
    """Every name must be defined, in rules that nothing uses too."""
    known = source.definitions
    for definition in known.values():
        for name in mentions(definition.body):
            use = source.template_uses.get(name)
            for each in (name,) if use is None else use.args:
                if each not in definition.params:
                    _check_name(source, each)
    for ignored in source.ignored:
        for name in mentions(ignored.body):
            _check_name(source, name)


def _check_name(source: Source, name: str) -> None:
    if name in source.merged:
        return
    definition = source.definitions.get(name)
    if definition is None or definition.params:
        problem = "not defined" if definition is None else "a template and needs arguments"
        raise InvalidConstraint(
            f"{name} is {problem}",
            keyword=name,
            source=source.text,
            position=source.uses.get(name),
        )


def _check_terminals(source: Source, terminals: Bodies) -> None:
    """A terminal may use other terminals, but not itself."""
    used = {name: [n for n in mentions(body) if n in terminals] for name, body in terminals.items()}
    endless = terminals.keys() - set(acyclic_order(used))
    if endless:
        name = min(endless, key=lambda name: source.definitions[name].position)
        raise InvalidConstraint(
            f"the terminal {name} leads back to itself; only rules may be recursive",
            keyword=name,
            source=source.text,
            position=source.definitions[name].position,
        )


def _check_boolean(source: Source, terminals: Bodies) -> None:
    for name, body in terminals.items():
        if mentions(body) and any(isinstance(n, (ir.And, ir.Not)) for n in postorder(body)):
            found = source.definitions.get(name)
            raise ConstraintLimitExceeded(
                "& or ~ over terminals of too many parts",
                keyword=name,
                source=source.text,
                position=0 if found is None else found.position,
            )


_START = "%start"
