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


# By construct: the dialects that have it, then notes; or why it is refused. The keys are also the
# `keyword` of an UnsupportedConstraint.
SUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "literals": "both",
        ". [a-z] [^a-z]": "both; with \\- and [\\w-.] as annex B has them in ECMA",
        "\\d \\w \\s \\D \\W \\S": "both; what all engines agree on, or as (?a) and (?u) say",
        "\\n \\r \\t \\f \\v \\0 \\xhh \\uhhhh": "both",
        "\\u{h..} \\cX, surrogate pairs": "ECMA",
        "\\Uhhhhhhhh \\a \\N{NAME} \\ooo": "Python",
        "\\p{..} \\P{..}": "both; categories, Any, ASCII, Assigned, as unicodedata has them",
        "property": "refused: scripts and others, which the standard library does not have",
        "| (...) (?:...) (?<name>...)": "both; (?P<name>...) in Python",
        "* + ? {m} {m,} {m,n}, lazy": "both; lazy ones match the same language",
        "quantifier": "refused: {,n} in ECMA, which engines read differently; Python has it",
        "^ $ \\b \\B": "both",
        "\\A \\Z \\z": "Python",
        "(?=..) (?!..) (?<=..) (?<!..)": "both; behind in Python only with a fixed width, as in re",
        "look-around": "refused: one that needs too many states inside a repetition or behind, or "
        "one direction inside the other there",
        "(?aimsux) (?ims-ims:...)": "Python",
        "(?ims-ims:...)": "ECMA",
        "(?#...)": "Python",
        "possessive quantifier": "refused but where a look-ahead says the same: Python",
        "atomic group": "refused but where a look-ahead says the same: Python",
        "back-reference": "refused: not a regular language",
        "conditional group": "refused: depends on a group's match, as back-references do",
        "octal escape": "refused in ECMA, where it is an error with the u flag",
    }
)
