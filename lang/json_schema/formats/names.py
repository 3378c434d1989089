"""Host names (RFC 1123 section 2.1) and mailboxes (RFC 5321 section 4.1.2)."""

from __future__ import annotations

from sestina.lang.grammar_ir import Expr
from sestina.lang.json_schema.formats.pattern import pattern

_ALNUM, _INNER = "[A-Za-z0-9]", "[A-Za-z0-9-]"


def hostname() -> tuple[Expr, ...]:
    """Labels of at most 63 letters, digits and inner hyphens; at most 253 characters in all.

    Never four numbers: the highest label of such a name "will be alphabetic". Labels with hyphens
    in the third and fourth place are reserved (RFC 5891 section 4.2.3.1) but for A-labels, `xn--`.
    Which of those are valid depends on the Unicode text that they encode, so they are left out:
    the one format here that is narrower than its RFC.
    """
    third_and_fourth = f"(?:{_ALNUM}{_INNER}|-{_ALNUM})"
    long_label = f"{_INNER}{third_and_fourth}{_INNER}{{0,58}}{_ALNUM}"
    label = f"{_ALNUM}(?:{_INNER}{{0,2}}{_ALNUM}|{long_label})?"
    no_address = r"(?:[0-9.]*[A-Za-z-].*|[^.]+(?:\.[^.]+){0,2}|[^.]+(?:\.[^.]+){4,})"
    return pattern(rf"{label}(?:\.{label})*"), pattern(no_address), pattern(".{1,253}")


def email() -> tuple[Expr, ...]:
    """Mailbox: a dot-string or quoted string, @, and a domain or address literal.

    With the limits of section 4.5.3.1: 64 characters before the @, 254 in all (a path has 256 with
    its brackets); labels of 63. Readers are often narrower: many want two labels, and know neither
    quoted strings nor literals.
    """
    atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
    quoted = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
    label = f"{_ALNUM}(?:{_INNER}{{0,61}}{_ALNUM})?"
    local = rf"(?:{atom}(?:\.{atom})*|{quoted})"
    domain = rf"(?:{label}(?:\.{label})*|\[{_address_literal()}\])"
    return pattern(f"{local}@{domain}"), pattern(".{1,64}@[^@]*"), pattern(".{1,254}")


def _address_literal() -> str:
    """IPv4 (zeros may lead), or IPv6 in its notation there: `::` is at least two groups.

    No other tag is registered for a General-address-literal.
    """
    number = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})"
    ipv4 = rf"{number}(?:\.{number}){{3}}"
    group = "[0-9A-Fa-f]{1,4}"
    forms = [f"{group}(?::{group}){{7}}", f"(?:{group}:){{6}}{ipv4}"]
    for before in range(7):
        head = f"{group}(?::{group}){{{before - 1}}}::" if before else "::"
        after = f"(?:{group}(?::{group}){{0,{5 - before}}})?" if before < 6 else ""
        forms.append(head + after)
        if before <= 4:
            after = f"(?:{group}:(?:{group}:){{0,{3 - before}}})?" if before < 4 else ""
            forms.append(head + after + ipv4)
    return f"(?:{ipv4}|[Ii][Pp][Vv]6:(?:{'|'.join(forms)}))"
