"""Regular expressions of formats."""

from __future__ import annotations

from sestina.lang import regex_syntax
from sestina.lang.grammar_ir import Expr
from sestina.lang.json_schema.string import spelled


def pattern(source: str) -> Expr:
    """The insides of canonically spelled JSON strings that match from beginning to end."""
    return regex_syntax.lower(source, dialect=regex_syntax.Dialect.ECMA, spell=spelled)
