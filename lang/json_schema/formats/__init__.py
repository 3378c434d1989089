"""The `format`s of JSON Schema that are enforced (validation vocabulary, section 7.3).

The language of each is that of the RFC it is defined by: see the module of its family, which also
says what common readers do not take. "regex" is recursive, all others are regular. Any other name
is an annotation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from sestina.lang.expr_match import matches
from sestina.lang.grammar_ir import Expr
from sestina.lang.json_schema.formats import (
    addresses,
    ecma_regex,
    identifiers,
    names,
    times,
    uris,
)
from sestina.lang.json_schema.string import quoted

FORMATS: Mapping[str, Callable[[], tuple[Expr, ...]]] = MappingProxyType(
    {
        "date": times.date,
        "time": times.time,
        "date-time": times.date_time,
        "duration": times.duration,
        "email": names.email,
        "hostname": names.hostname,
        "idn-email": names.idn_email,
        "idn-hostname": names.idn_hostname,
        "ipv4": addresses.ipv4,
        "ipv6": addresses.ipv6,
        "uri": uris.uri,
        "uri-reference": uris.uri_reference,
        "iri": uris.iri,
        "iri-reference": uris.iri_reference,
        "uri-template": uris.uri_template,
        "uuid": identifiers.uuid,
        "json-pointer": identifiers.json_pointer,
        "relative-json-pointer": identifiers.relative_json_pointer,
        "regex": lambda: (ecma_regex.PATTERN,),
    }
)

RECURSIVE_FORMATS = frozenset({"regex"})
"""Formats whose `insides` need `rules`."""

_MAX_NESTING = 60  # of brackets in constants: `is_of` recurses

_NUMBER = "(?:0[xX][0-9A-Fa-f]*|[0-9]+)"  # of an address, as old readers take them

# A pattern (a search, ECMA-262) for each, wider than any engine's reading: what it does not match
# is surely not of this format.
WIDEST_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "date": "^[^:]*[0-9][^:]*$",
        "time": "^[Tt]?[0-9]{1,2}:",
        "date-time": "^[^:]*[0-9]{4}[^:]*:",
        "duration": "^[+-]?[Pp]",
        **dict.fromkeys(("email", "idn-email"), "@"),
        **dict.fromkeys(("hostname", "idn-hostname"), r"^[^\s/@:]+\.?$"),
        "ipv4": rf"^{_NUMBER}(?:\.{_NUMBER}){{0,3}}\.?$",
        **dict.fromkeys(("ipv6", "uri", "iri"), ":"),
        **dict.fromkeys(("uri-reference", "iri-reference"), r"^[^ \t\r\n]*$"),
        "uri-template": r"^[^}]*(?:\{|$)",
        "uuid": "^[0-9A-Fa-f]{8}-",
        "json-pointer": "^(?:/|$)",
        "relative-json-pointer": "^[0-9]",
        "regex": "^(?:[^)*+?]|$)",
    }
)


@functools.lru_cache(maxsize=len(FORMATS))
def insides(name: str) -> tuple[Expr, ...]:
    """The insides of the JSON strings of a format, which are in all of these languages.

    Made when first asked for.
    """
    return FORMATS[name]()


@functools.lru_cache(maxsize=len(RECURSIVE_FORMATS))
def regular_insides(name: str) -> tuple[Expr, ...]:
    """The same or a part of it, without rules: for use beside other keywords."""
    return (ecma_regex.regular(),) if name in RECURSIVE_FORMATS else insides(name)


@functools.lru_cache(maxsize=1)
def rules() -> Mapping[str, Expr]:
    """What the rules stand for that `insides` of RECURSIVE_FORMATS mention."""
    return MappingProxyType({ecma_regex.PATTERN.name: ecma_regex.recursive()})


def is_of(name: str, text: str) -> bool:
    """Whether a text is of a format. What is nested too deeply to tell is not."""
    if name in RECURSIVE_FORMATS and text.count("(") > _MAX_NESTING:
        return False
    known = rules() if name in RECURSIVE_FORMATS else None
    inside = quoted(text).data[1:-1]
    return all(matches(expr, inside, known) for expr in insides(name))
