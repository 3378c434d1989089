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
    acyclic_order,
    inline_small,
    mentions,
    postorder,
    reachable,
    substitute,
)
from sestina.lang.grammar_syntax.source import Definition, Source
from sestina.lang.grammar_syntax.templates import instantiate
from sestina.lang.grammar_syntax.values import NO_TEXT, Values

MAX_INLINE = 1_000
"""Nodes of a definition that is written out wherever it is used."""


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
    terminals = inline_small({**terminals, _IGNORED: _ignored(source)}, MAX_INLINE)
    _check_boolean(source, terminals)
    ignored = terminals.pop(_IGNORED)

    def token(name: str) -> ir.Expr | None:
        if name not in terminals:
            return None
        body = terminals[name]
        small = not mentions(body) and len(postorder(body)) <= MAX_INLINE
        return seq(body if small else ir.Rule(name), ignored)

    tokens = {name: token(name) for name in terminals}
    rules = {
        name: substitute(d.body, tokens.get) for name, d in definitions.items() if not d.is_terminal
    }
    bodies = {**terminals, **source.merged, **rules}
    bodies[_START] = seq(ignored, tokens.get(start) or ir.Rule(start))
    return _finished(source, start, bodies)


def _finished(source: Source, start: str, bodies: dict[str, ir.Expr]) -> ir.Grammar:
    bodies = inline_small(bodies, MAX_INLINE)
    needed = [_START, *reachable(bodies[_START], bodies)]
    try:
        bodies = without_left_recursion({name: bodies[name] for name in needed})
    except ConstraintLimitExceeded as error:
        _point(source, error)
    body = bodies.pop(_START)
    values = Values({**bodies, _START: body})
    if values[body] == NO_TEXT:
        raise UnsatisfiableConstraint(
            f"no text is derived by the rule {start}",
            keyword=start,
            source=source.text,
            position=source.definitions[start].position,
        )
    rules = {name: bodies[name] for name in reachable(body, bodies)}
    return ir.Grammar(body, MappingProxyType(rules))


def _point(source: Source, error: ConstraintLimitExceeded) -> NoReturn:
    """The same error with the place of the rule that it names."""
    definition = source.definitions.get(error.keyword or "")
    raise ConstraintLimitExceeded(
        error.reason,
        keyword=error.keyword,
        source=source.text,
        position=0 if definition is None else definition.position,
    ) from None


def _ignored(source: Source) -> ir.Expr:
    return times(either(source.ignored), 0, None)


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


def _check_terminals(source: Source, terminals: dict[str, ir.Expr]) -> None:
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


def _check_boolean(source: Source, terminals: dict[str, ir.Expr]) -> None:
    for name, body in terminals.items():
        if mentions(body) and any(isinstance(n, (ir.And, ir.Not)) for n in postorder(body)):
            definition: Definition | None = source.definitions.get(name)
            raise ConstraintLimitExceeded(
                f"& or ~ over a terminal of more than {MAX_INLINE} parts",
                keyword=name,
                source=source.text,
                position=0 if definition is None else definition.position,
            )


_IGNORED = "%ignored"
_START = "%start"
