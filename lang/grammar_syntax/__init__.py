r"""Grammar source to constraint IR: Lark's notation and GBNF.

    source --lark_reader | gbnf_reader--> Source (definitions) --templates, lowering--> rules
    rules --left_recursion--> rules that a runtime can walk      `lower` is all of it

The language is that of the grammar as mathematics has it. A Lark grammar is taken as its Earley
parser with the `dynamic_complete` lexer takes it: a terminal may match any text of its regex, not
only the longest, and `%ignore` terminals, each matched as long as it can be, may stand before,
between and after terminals, never inside one. Lark's other lexers take the longest match, or decide
for a keyword over a name, so they may read less: `"if" NAME` also derives `ifx`. Priorities, `?`,
`!` and aliases choose between parses or shape trees, and change no language.

How far an ignored text goes must be told by the next byte (`extension`), else it is refused. Where
that byte could begin more ignored text but does not (a lone carriage return after
`%ignore /(\r?\n)+/`), the language is the narrower one, without what follows.

Both readers refuse what they do not enforce, with its place; each lists what it understands.
Limits: MAX_SOURCE_LEN characters, groups nested `groups.MAX_NESTING` deep.
"""

from __future__ import annotations

import re

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintLimitExceeded, InvalidConstraint
from sestina.lang.grammar_syntax import gbnf_reader, lark_reader
from sestina.lang.grammar_syntax.lowering import lower_source

MAX_SOURCE_LEN = 256_000

SYNTAXES = ("auto", "lark", "gbnf")

_LEADING_BLANK = re.compile(r"(?:\s+|#[^\n]*|//[^\n]*)+")


def detect(source: str) -> str:
    """ "gbnf" if the first rule is written `name ::= ...`, else "lark".

    >>> detect('# chess\\nroot ::= "e4"'), detect('start: "::="')
    ('gbnf', 'lark')
    """
    blank = _LEADING_BLANK.match(source)
    is_gbnf = gbnf_reader.HEAD.match(source, blank.end() if blank else 0)
    return "gbnf" if is_gbnf else "lark"


def lower(source: str, syntax: str = "auto", start: str | None = None) -> ir.Grammar:
    """The language of a grammar source.

    start: the rule to derive from; "start" in Lark and "root" in GBNF if None. Raises
    InvalidConstraint, UnsupportedConstraint, UnsatisfiableConstraint or ConstraintLimitExceeded.

    >>> lower('start: "a" | "b"') == lower('root ::= [ab]')
    True
    """
    if syntax not in SYNTAXES:
        raise InvalidConstraint(f"the syntax of a grammar is one of {SYNTAXES}, not {syntax!r}")
    if len(source) > MAX_SOURCE_LEN:
        raise ConstraintLimitExceeded(
            f"a grammar of {len(source)} characters; at most {MAX_SOURCE_LEN}"
        )
    if syntax == "auto":
        syntax = detect(source)
    if syntax == "gbnf":
        return lower_source(gbnf_reader.read(source), start or "root")
    return lower_source(lark_reader.read(source), start or "start")


__all__ = ["MAX_SOURCE_LEN", "SYNTAXES", "detect", "lower"]
