"""IP addresses (RFC 2673 section 3.2, RFC 4291 section 2.2). Python's `ipaddress` agrees."""

from __future__ import annotations

from sestina.lang.grammar_ir import Expr
from sestina.lang.json_schema.formats.pattern import pattern

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"


def ipv4() -> tuple[Expr, ...]:
    """Four octets in decimal; no leading zeros, which some readers take for octal."""
    return (pattern(IPV4),)


def ipv6() -> tuple[Expr, ...]:
    """Eight groups, `::` for at least one of them, perhaps an IPv4 address at the end."""
    return (pattern(ipv6_address()),)


def ipv6_address() -> str:
    """The ABNF of RFC 3986 section 3.2.2, which is that of URIs too."""
    group = "[0-9A-Fa-f]{1,4}"
    last = f"(?:{group}:{group}|{IPV4})"
    forms = [f"(?:{group}:){{6}}{last}", f"::(?:{group}:){{5}}{last}"]
    for before in range(5):
        head = f"(?:(?:{group}:){{0,{before}}}{group})?"
        after = 4 - before
        forms.append(f"{head}::" + (f"(?:{group}:){{{after}}}" if after else "") + last)
    forms += [f"(?:(?:{group}:){{0,5}}{group})?::{group}", f"(?:(?:{group}:){{0,6}}{group})?::"]
    return "(?:" + "|".join(forms) + ")"
