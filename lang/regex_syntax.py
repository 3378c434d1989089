"""Regular expression source to constraint IR, with errors that point at the place.

Two dialects. PYTHON is the syntax of `re`, ECMA that of ECMA-262 with the u flag (what JSON
Schema's `pattern` asks for) plus the harmless parts of its annex B. `SUPPORTED` is the table of
what they understand, and of what they refuse: nothing is approximated. The language is exactly that
of the engines, look-arounds included, which become intersections and complements
(`sestina.lang.regex.lowering`); where engines differ see `sestina.lang.regex.classes`.

Cost: linear in the pattern without look-arounds. Nesting beyond MAX_NESTING, patterns beyond
MAX_PATTERN_LEN, and look-arounds that need too much work raise ConstraintLimitExceeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from sestina.lang import grammar_ir as ir
from sestina.lang.errors import ConstraintError, ConstraintLimitExceeded, UnsatisfiableConstraint
from sestina.lang.expr import char, is_nothing
from sestina.lang.regex.classes import Spell
from sestina.lang.regex.lowering import anywhere, whole_text
from sestina.lang.regex.parser import MAX_NESTING, MAX_REPEAT, parse

__all__ = ["MAX_NESTING", "MAX_PATTERN_LEN", "MAX_REPEAT", "SUPPORTED", "Dialect", "lower"]

MAX_PATTERN_LEN = 100_000


class Dialect(Enum):
    PYTHON = "python"
    ECMA = "ecma"


def lower(
    pattern: str,
    *,
    dialect: Dialect = Dialect.PYTHON,
    search: bool = False,
    spell: Spell = char,
    widest: bool = False,
) -> ir.Expr:
    """The language of `pattern`: whole texts, or with `search` texts with a match somewhere.

    `spell` says how a character of a set is written (JSON writes `"` as `\\"`). Where engines
    differ (class letters, dot, `$`) the language is what all of them match; with `widest` what any
    of them does, which is what a negation has to leave out. Raises
    InvalidConstraint, UnsupportedConstraint, ConstraintLimitExceeded with the position, and
    UnsatisfiableConstraint when the pattern's structure leaves no text at all.

    >>> lower("a|b") == ir.chars([(0x61, 0x62)])
    True
    """
    if len(pattern) > MAX_PATTERN_LEN:
        raise ConstraintLimitExceeded(
            f"a pattern of {len(pattern)} characters; at most {MAX_PATTERN_LEN}"
        )
    tree = parse(pattern, ecma=dialect is Dialect.ECMA)
    try:
        expr = (anywhere if search else whole_text)(tree, spell, is_maybe=widest)
    except ConstraintError as error:
        position = error.position or 0
        raise type(error)(
            error.reason, keyword=error.keyword, source=pattern, position=position
        ) from None
    if is_nothing(expr):
        raise UnsatisfiableConstraint("no text matches this pattern", source=pattern, position=0)
    return expr


SUPPORTED: Mapping[str, str] = MappingProxyType(
    {
    }
)
