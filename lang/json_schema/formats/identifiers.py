"""UUIDs (RFC 4122) and JSON Pointers (RFC 6901), also relative ones."""

from __future__ import annotations

from sestina.lang.grammar_ir import Expr
from sestina.lang.json_schema.formats.pattern import pattern

_POINTER = "(?:/(?:[^/~]|~[01])*)*"


def uuid() -> tuple[Expr, ...]:
    """Five groups of hexadecimal digits, of any version and variant."""
    return (pattern("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"),)


def json_pointer() -> tuple[Expr, ...]:
    return (pattern(_POINTER),)


def relative_json_pointer() -> tuple[Expr, ...]:
    """draft-handrews-relative-json-pointer-01; the index arithmetic of later drafts is left out."""
    return (pattern(f"(?:0|[1-9][0-9]*)(?:#|{_POINTER})"),)
