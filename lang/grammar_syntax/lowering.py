"""From definitions as read to a grammar that a runtime can enforce."""

from __future__ import annotations

from types import MappingProxyType
from typing import NoReturn

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import (
    ConstraintLimitExceeded,
    InvalidConstraint,
    UnsatisfiableConstraint,
)
from sestina.lang.expr import either, seq, times
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
from sestina.lang.grammar_syntax.source import Definition, Source
from sestina.lang.grammar_syntax.tail_recursion import without_tail_recursion
from sestina.lang.grammar_syntax.templates import instantiate
from sestina.lang.grammar_syntax.values import NO_TEXT, Values

MAX_INLINE = 1_000
"""Nodes of a definition that is written out wherever it is used."""

MAX_INLINE_TOTAL = 50_000


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
    ignored = ir.Rule(_IGNORED) if source.ignored else ir.EPSILON
    tokens = {name: seq(ir.Rule(name), ignored) for name in terminals}
    bodies = {**terminals, **source.merged, _IGNORED: times(either(source.ignored), 0, None)}
    for name, definition in definitions.items():
        if not definition.is_terminal:
            bodies[name] = substitute(definition.body, tokens.get)
    bodies[_START] = seq(ignored, tokens.get(start, ir.Rule(start)))
    bodies = inline_small(without_tail_recursion(bodies), MAX_INLINE, MAX_INLINE_TOTAL)
    _check_boolean(source, {name: bodies[name] for name in (*terminals, _IGNORED)})
    return _finished(source, start, bodies)


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
    for body in source.ignored:
        for name in mentions(body):
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
            definition: Definition | None = source.definitions.get(name)
            raise ConstraintLimitExceeded(
                "& or ~ over terminals of too many parts",
                keyword=name,
                source=source.text,
                position=0 if definition is None else definition.position,
            )


_IGNORED = "%ignored"
_START = "%start"
