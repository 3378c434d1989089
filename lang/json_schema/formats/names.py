"""Host names (RFC 1123 section 2.1) and mailboxes (RFC 5321 section 4.1.2), and those beyond ASCII.

Which Unicode labels are valid depends on their Punycode, context and direction (RFC 5891 to 5893).
Here they are of letters that are so anywhere, and their length is kept from mattering.
"""

from __future__ import annotations

from sestina.lang.expr import either
from sestina.lang.grammar_ir import And, Expr
from sestina.lang.json_schema.formats.pattern import pattern

_ALNUM, _INNER = "[A-Za-z0-9]", "[A-Za-z0-9-]"

# Small letters of French and German, of Greek and Russian; kana, Han and Hangul. All are PVALID
# (RFC 5892), written from the left, and their own normal form. Twelve of them take less than 63
# characters in Punycode, and four labels of which one is such a one less than 253.
_LETTERS = (
    r"\u{E0}-\u{F6}\u{F8}-\u{FF}\u{3B1}-\u{3C9}\u{430}-\u{44F}"
    r"\u{3041}-\u{3093}\u{30A1}-\u{30F4}\u{4E00}-\u{9FA5}\u{AC00}-\u{D7A3}"
)
_U_LABEL = f"[a-z0-9{_LETTERS}]{{1,12}}"


def hostname() -> tuple[Expr, ...]:
    """Labels of at most 63 letters, digits and inner hyphens; at most 253 characters in all.

    Never four numbers: the highest label of such a name "will be alphabetic". Labels with hyphens
    in the third and fourth place are reserved (RFC 5891 section 4.2.3.1) but for A-labels, `xn--`.
    Which of those are valid depends on the Unicode text that they encode, so they are left out:
    the one format here that is narrower than its RFC.
    """
    label = _label()
    no_address = r"(?:[0-9.]*[A-Za-z-].*|[^.]+(?:\.[^.]+){0,2}|[^.]+(?:\.[^.]+){4,})"
    return pattern(rf"{label}(?:\.{label})*"), pattern(no_address), pattern(".{1,253}")


def idn_hostname() -> tuple[Expr, ...]:
    """Host names with up to four labels of letters beyond ASCII, and those without any."""
    some = rf"(?:{_label()}|{_U_LABEL})"
    no_address = r"(?:[0-9.]*[^0-9.].*|[^.]+(?:\.[^.]+){0,2}|[^.]+(?:\.[^.]+){4,})"
    names = rf"(?:{_label()}(?:\.{_label()})*|{some}(?:\.{some}){{0,3}})"
    return pattern(names), pattern(no_address), pattern(".{1,253}")


def _label() -> str:
    third_and_fourth = f"(?:{_ALNUM}{_INNER}|-{_ALNUM})"
    long_label = f"{_INNER}{third_and_fourth}{_INNER}{{0,58}}{_ALNUM}"
    return f"{_ALNUM}(?:{_INNER}{{0,2}}{_ALNUM}|{long_label})?"


def idn_email() -> tuple[Expr, ...]:
    """RFC 6531 section 3.3: any character beyond ASCII before the @, labels as in `idn_hostname`.

    With fewer characters than an ASCII one, so that no limit of its bytes is met.
    """
    beyond = r"\u{80}-\u{10FFFF}"
    atom = f"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{beyond}-]+"
    local = rf'(?:{atom}(?:\.{atom})*|"(?:[ !#-\[\]-~{beyond}]|\\[ -~])*")'
    some = rf"(?:{_label()}|{_U_LABEL})"
    whole = pattern(rf"{local}@{some}(?:\.{some}){{0,3}}")
    short = pattern(".{1,16}@[^@]*"), pattern(".{1,120}")
    return (either([And(email()), And((whole, *short))]),)


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
