"""The texts of a string format that Python reads.

The formats of JSON Schema follow their RFCs, which allow more than the types of Python can hold:
leap seconds, the year 0, durations of any size, hosts of any name. The schema of a type says the
rest with one of these patterns beside its format.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_LABEL = "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_LAST_LABEL = "[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*"
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"

# Format -> a pattern of the texts that Python, pydantic and email-validator take.
READABLE: Mapping[str, str] = MappingProxyType(
    {
        "date": "^[0-9]*[1-9]",
        "time": "^[^:]+:[^:]+:[0-5]",
        "date-time": "^[0-9]*[1-9][0-9]*-[^:]+:[^:]+:[0-5]",
        "duration": "^(?:[A-Z]+[0-9]{1,6})+[A-Z]$",
        "email": rf"^{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LAST_LABEL}$",
        # WHATWG's URLs: a plain host, no port, or no host at all and no scheme that demands one.
        "uri": r"^(?:[a-z]+://(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)*[a-z]+(?:[/?#]|$)|(?:mailto|tel|urn):)",
    }
)


def readable(format_name: str) -> dict[str, Any]:
    """The schema of the strings of a format that Python reads.

    >>> readable("uuid")
    {'type': 'string', 'format': 'uuid'}
    """
    schema = {"type": "string", "format": format_name}
    if format_name in READABLE:
        schema["pattern"] = READABLE[format_name]
    return schema
