"""Schemas that lead nowhere: that refer to nothing but themselves, or allow no value."""

from __future__ import annotations

from sestina.lang.errors import InvalidConstraint, UnsatisfiableConstraint
from sestina.lang.expr import is_nothing
from sestina.lang.grammar_check import is_productive, left_recursion
from sestina.lang.grammar_ir import Grammar


def refuse_dead_ends(grammar: Grammar, *, has_own_rules: bool) -> None:
    """Raise for a schema's grammar from which no value comes.

    has_own_rules: whether it has rules but those that lowering adds (any JSON value, formats,
        multiples), which all lead somewhere. If not, nothing is looked through: a part that matches
        nothing has made all that needs it NOTHING.
    """
    if not has_own_rules:
        has_values = not is_nothing(grammar.start)
    else:
        if (cycle := left_recursion(grammar)) is not None:
            raise InvalidConstraint(
                "the schema refers to itself without anything in between",
                pointer=cycle.partition("@")[0],
                keyword="$ref",
            )
        has_values = is_productive(grammar)
    if not has_values:
        raise UnsatisfiableConstraint("no JSON value is valid under the schema", pointer="")
