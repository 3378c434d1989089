"""Regexes inside a Lark grammar, where text stands before and after what they match.

`sestina.lang.regex_syntax` reads a pattern as a whole text. What looks beyond the match (anchors,
word boundaries, look-around) or depends on what follows it (a lazy quantifier, whose regex ends as
soon as the next part of the grammar fits) means something else here and is refused.
"""

from __future__ import annotations

import re

from sestina.lang import grammar_ir as ir
from sestina.lang import regex_syntax
from sestina.lang.errors import ConstraintError
from sestina.lang.grammar_syntax.source import Cursor

_PIECE = re.compile(
    r"""(?P<boundary> \\[bBAZ] )
      | \\.
      | (?P<around> \(\?<?[=!] )
      | \(\?
      | (?P<anchor> [$^] )
      | (?P<klass> \[\^?\]?(?:[^\]\\]|\\.)* )
      | (?:[*+?]|\{[0-9]*,?[0-9]*\})(?P<lazy>\?)?
      | .""",
    re.VERBOSE | re.DOTALL,
)
_REFUSED = {
    "boundary": "a word boundary or anchor",
    "around": "look-around",
    "anchor": "an anchor",
    "lazy": "a lazy quantifier (say instead what the text between may not contain)",
}
_COMMENT = re.compile("#[^\n]*")


def lower(cursor: Cursor, pattern: str, flags: str, position: int) -> ir.Expr:
    """The language of the regex at `position` of the grammar's source."""
    _refuse_what_looks_beyond(cursor, pattern, "x" in flags, position)
    if "l" in flags:
        cursor.refuse("flag", "the flag l", position + len(pattern) + 1)
    # u is what a pattern is anyway, and m speaks of anchors only.
    wanted = "".join(sorted(set(flags) - {"u", "m"}))
    prefix = f"(?{wanted})" if wanted else ""
    try:
        return regex_syntax.lower(prefix + pattern)
    except ConstraintError as error:
        offset = (error.position or 0) - len(prefix)
        if offset < 0:  # a flag, which stands behind the pattern here
            offset = len(pattern) + 1
        raise type(error)(
            error.reason, keyword=error.keyword, source=cursor.text, position=position + offset
        ) from error


def _refuse_what_looks_beyond(cursor: Cursor, pattern: str, verbose: bool, position: int) -> None:
    at = 0
    while at < len(pattern):
        comment = _COMMENT.match(pattern, at) if verbose else None
        found = comment or _PIECE.match(pattern, at)
        assert found is not None  # the last branch takes any character
        kind = found.lastgroup
        if kind in _REFUSED:
            cursor.refuse(kind, f"{_REFUSED[kind]} in a regex", position + found.start(kind))
        at = max(found.end(), at + 1)
