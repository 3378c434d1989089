r"""The terminals of Lark's library grammar `common`, for `%import common.NAME`.

Lark writes two of them with lazy quantifiers and look-behind; here is the language that its lexers
take them for: a string ends at its first quote, a comment at its first `*/`. Its `_STRING_INNER`
and `_STRING_ESC_INNER` have no meaning by themselves and are left out.
"""

from __future__ import annotations

import functools

from sestina.lang import grammar_ir as ir
from sestina.lang import regex_syntax

_INT = "[0-9]+"
_EXPONENT = f"[eE][+-]?{_INT}"
_DECIMAL = rf"(?:{_INT}\.(?:{_INT})?|\.{_INT})"
_FLOAT = f"(?:{_INT}{_EXPONENT}|{_DECIMAL}(?:{_EXPONENT})?)"
_NUMBER = f"(?:{_FLOAT}|{_INT})"

_PATTERNS = {
    "DIGIT": "[0-9]",
    "HEXDIGIT": "[a-fA-F0-9]",
    "INT": _INT,
    "SIGNED_INT": f"[+-]?{_INT}",
    "DECIMAL": _DECIMAL,
    "_EXP": _EXPONENT,
    "FLOAT": _FLOAT,
    "SIGNED_FLOAT": f"[+-]?{_FLOAT}",
    "NUMBER": _NUMBER,
    "SIGNED_NUMBER": f"[+-]?{_NUMBER}",
    "ESCAPED_STRING": r'"(?:[^"\\\n]|\\[^\n])*"',
    "LCASE_LETTER": "[a-z]",
    "UCASE_LETTER": "[A-Z]",
    "LETTER": "[A-Za-z]",
    "WORD": "[A-Za-z]+",
    "CNAME": "[_A-Za-z][_A-Za-z0-9]*",
    "WS_INLINE": r"[ \t]+",
    "WS": r"[ \t\f\r\n]+",
    "CR": r"\r",
    "LF": r"\n",
    "NEWLINE": r"(?:\r?\n)+",
    "SH_COMMENT": r"#[^\n]*",
    "CPP_COMMENT": r"//[^\n]*",
    "C_COMMENT": r"/\*[^*]*\*+(?:[^*/][^*]*\*+)*/",
    "SQL_COMMENT": r"--[^\n]*",
}


@functools.lru_cache(maxsize=64)
def common_terminal(name: str) -> ir.Expr | None:
    """The language of a terminal of `common`, or None if there is no such terminal."""
    pattern = _PATTERNS.get(name)
    return None if pattern is None else regex_syntax.lower(pattern)
