"""The `format`s of JSON Schema that are enforced (validation vocabulary, section 7.3).

Each is one or more regular expressions, all of which the whole string must match. They describe a
subset of the format that every common reader accepts: no leap seconds, no year 0000, at most six
digits of a second, no domain labels with two hyphens in a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


def _date() -> str:
    """RFC 3339 full-date: the calendar, leap years included, years 0001 to 9999."""
    fours = "0[48]|[2468][048]|[13579][26]"
    leap_year = f"(?:[0-9]{{2}}(?:{fours})|(?:{fours})00)"
    year = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
    long_months = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    short_months = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    return (
        f"(?:{year}-(?:{long_months}|{short_months}|02-(?:0[1-9]|1[0-9]|2[0-8]))|{leap_year}-02-29)"
    )


_HOUR_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_HOUR_MINUTE}:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{_HOUR_MINUTE})"

# RFC 1123 host names: labels of at most 63 letters, digits and inner hyphens.
_LABEL = "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_TOP_LABEL = "[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*"
_LABELS_LEN = r"(?:[^.]{1,63}\.)*[^.]{1,63}"

# RFC 5321 dot-string; at most 64 characters before the @ and 254 in all.
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"


def _ipv6() -> str:
    """RFC 4291 section 2.2, after the ABNF of RFC 3986: `::` stands for at least one group."""
    group = "[0-9A-Fa-f]{1,4}"
    last = f"(?:{group}:{group}|{_IPV4})"
    forms = [f"(?:{group}:){{6}}{last}", f"::(?:{group}:){{5}}{last}"]
    for before in range(5):
        head = f"(?:(?:{group}:){{0,{before}}}{group})?"
        after = 4 - before
        forms.append(f"{head}::" + (f"(?:{group}:){{{after}}}" if after else "") + last)
    forms += [f"(?:(?:{group}:){{0,5}}{group})?::{group}", f"(?:(?:{group}:){{0,6}}{group})?::"]
    return "(?:" + "|".join(forms) + ")"


def _uri() -> str:
    """RFC 3986 section 3, absolute, with a non-empty host where there is an authority."""
    escaped = "%[0-9A-Fa-f]{2}"
    unreserved = "A-Za-z0-9._~\\-"
    sub_delims = "!$&'()*+,;="
    pchar = f"(?:[{unreserved}{sub_delims}:@]|{escaped})"
    user = f"(?:(?:[{unreserved}{sub_delims}:]|{escaped})*@)?"
    host = rf"(?:\[{_ipv6()}\]|(?:[{unreserved}{sub_delims}]|{escaped})+)"
    port = (
        "(?::(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4}))?"
    )
    path = f"(?:/?{pchar}+(?:/{pchar}*)*|/)"
    rest = f"(?://{user}{host}{port}(?:/{pchar}*)*|{path})"
    return rf"[A-Za-z][A-Za-z0-9+.-]*:{rest}(?:\?(?:{pchar}|[/?])*)?(?:#(?:{pchar}|[/?])*)?"


def _duration() -> str:
    """RFC 3339 appendix A: units in order, without gaps, at least one; small enough to compute."""
    number = "[0-9]{1,6}"
    time = f"T(?:{number}H(?:{number}M(?:{number}S)?)?|{number}M(?:{number}S)?|{number}S)"
    date = f"(?:{number}Y(?:{number}M(?:{number}D)?)?|{number}M(?:{number}D)?|{number}D)"
    return f"P(?:{date}(?:{time})?|{time}|{number}W)"


def _table() -> Mapping[str, tuple[str, ...]]:
    date, pointer = _date(), "(?:/(?:[^/~]|~[01])*)*"
    host = rf"{_LABEL}(?:\.{_LABEL})*"
    mail = rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_TOP_LABEL}"
    return MappingProxyType(
        {
            "date": (date,),
            "time": (_TIME,),
            "date-time": (f"{date}T{_TIME}",),
            "duration": (_duration(),),
            "email": (mail, rf"[^@]{{1,64}}@{_LABELS_LEN}", ".{1,254}"),
            "hostname": (host, _LABELS_LEN, ".{1,253}"),
            "ipv4": (_IPV4,),
            "ipv6": (_ipv6(),),
            "uri": (_uri(),),
            "uuid": ("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}",),
            "json-pointer": (pointer,),
            "relative-json-pointer": (f"(?:0|[1-9][0-9]*)(?:#|{pointer})",),
        }
    )


FORMATS = _table()

# A pattern (a search, ECMA-262) for each, wider than any engine's reading: what it does not match
# is surely not of this format.
WIDEST_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("date",), "[0-9].*-"),
        **dict.fromkeys(("time", "date-time"), "[0-9].*:"),
        "duration": "^[Pp]",
        "email": "@",
        "hostname": r"^[^\s/@:]+\.?$",
        "ipv4": rf"^{_IPV4}$",
        **dict.fromkeys(("ipv6", "uri"), ":"),
        "uuid": "^[0-9A-Fa-f]{8}-",
        "json-pointer": "^(?:/|$)",
        "relative-json-pointer": "^[0-9]",
    }
)

# Defined by the specification, but not (yet) as a regular language here: refused, not ignored.
REFUSED_FORMATS = frozenset(
    {"idn-email", "idn-hostname", "uri-reference", "uri-template", "iri", "iri-reference", "regex"}
)
