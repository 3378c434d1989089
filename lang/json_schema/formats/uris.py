"""URIs (RFC 3986), IRIs (RFC 3987) and URI templates (RFC 6570).

Only their syntax: a port may have any digits, and a host that looks like a wrong address is a
registered name. URL parsers of browsers (WHATWG) are narrower for `http` and its like.
"""

from __future__ import annotations

from sestina.lang.grammar_ir import Expr
from sestina.lang.json_schema.formats.addresses import ipv6_address
from sestina.lang.json_schema.formats.pattern import pattern

_ESCAPED = "%[0-9A-Fa-f]{2}"
_UNRESERVED = r"A-Za-z0-9._~\-"
_SUB_DELIMS = "!$&'()*+,;="
_SCHEME = "[A-Za-z][A-Za-z0-9+.-]*:"

# ucschar of RFC 3987: planes 1 to 13 but for their last two code points, and parts of others.
_ASTRAL = (
    "".join(rf"\u{{{plane:X}0000}}-\u{{{plane:X}FFFD}}" for plane in range(1, 14))
    + r"\u{E1000}-\u{EFFFD}"
)
_UCS_CHARS = rf"\u{{A0}}-\u{{D7FF}}\u{{F900}}-\u{{FDCF}}\u{{FDF0}}-\u{{FFEF}}{_ASTRAL}"
# An IRI must not contain the formatting characters of bidirectional text (section 4.1).
_IRI_CHARS = _UCS_CHARS.replace(
    r"\u{A0}-\u{D7FF}", r"\u{A0}-\u{200D}\u{2010}-\u{2029}\u{202F}-\u{D7FF}"
)
_PRIVATE = r"\u{E000}-\u{F8FF}\u{F0000}-\u{FFFFD}\u{100000}-\u{10FFFD}"


def uri() -> tuple[Expr, ...]:
    return (pattern(_SCHEME + _after_scheme("", "")),)


def uri_reference() -> tuple[Expr, ...]:
    return (pattern(_reference("", "")),)


def iri() -> tuple[Expr, ...]:
    return (pattern(_SCHEME + _after_scheme(_IRI_CHARS, _PRIVATE)),)


def iri_reference() -> tuple[Expr, ...]:
    return (pattern(_reference(_IRI_CHARS, _PRIVATE)),)


def uri_template() -> tuple[Expr, ...]:
    """Literals (with the apostrophe of erratum 6937) and expressions."""
    name_char = f"(?:[A-Za-z0-9_]|{_ESCAPED})"
    name = rf"{name_char}(?:\.?{name_char})*"
    variable = rf"{name}(?:\*|:[1-9][0-9]{{0,3}})?"
    expression = rf"\{{[+#./;?&=,!@|]?{variable}(?:,{variable})*\}}"
    ascii_literal = r"!#$&-;=?-\[\]_a-z~"
    return (pattern(f"(?:[{ascii_literal}{_UCS_CHARS}{_PRIVATE}]|{_ESCAPED}|{expression})*"),)


def _reference(more: str, private: str) -> str:
    """URI-reference; a relative path has no colon in its first segment."""
    segment = _path_char(more)
    first = f"(?:[{_UNRESERVED}{more}{_SUB_DELIMS}@]|{_ESCAPED})+"
    path = f"(?:/(?:{segment}+(?:/{segment}*)*)?|{first}(?:/{segment}*)*|)"
    relative = f"(?:{_authority(more)}(?:/{segment}*)*|{path}){_query(more, private)}"
    return f"(?:{_SCHEME}{_after_scheme(more, private)}|{relative})"


def _after_scheme(more: str, private: str) -> str:
    """hier-part, query and fragment."""
    segment = _path_char(more)
    path = f"(?:/(?:{segment}+(?:/{segment}*)*)?|{segment}+(?:/{segment}*)*|)"
    return f"(?:{_authority(more)}(?:/{segment}*)*|{path}){_query(more, private)}"


def _path_char(more: str) -> str:
    return f"(?:[{_UNRESERVED}{more}{_SUB_DELIMS}:@]|{_ESCAPED})"


def _authority(more: str) -> str:
    plain = f"{_UNRESERVED}{more}{_SUB_DELIMS}"
    user = f"(?:(?:[{plain}:]|{_ESCAPED})*@)?"
    future = f"[Vv][0-9A-Fa-f]+[.][{_UNRESERVED}{_SUB_DELIMS}:]+"
    host = rf"(?:\[(?:{ipv6_address()}|{future})\]|(?:[{plain}]|{_ESCAPED})*)"
    return f"//{user}{host}(?::[0-9]*)?"


def _query(more: str, private: str) -> str:
    inner = f"{_UNRESERVED}{more}{_SUB_DELIMS}:@/?"
    return rf"(?:\?(?:[{inner}{private}]|{_ESCAPED})*)?(?:#(?:[{inner}]|{_ESCAPED})*)?"
