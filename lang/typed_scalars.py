"""The scalar types of `sestina.lang.typed`: their schemas, and how their JSON becomes a value."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from sestina.lang.readable import readable

MAX_WHOLE_DIGITS = 400  # more than the numbers that a double can hold

Json = Any
Loader = Callable[[Json, str], Any]


class Codec(NamedTuple):
    """A type's JSON Schema, and what turns decoded JSON (and its path) into a value of it."""

    schema: dict[str, Any]
    load: Loader


def _scalar(kind: type | tuple[type, ...], what: str, make: Callable[[Any], Any]) -> Loader:
    return lambda value, path: make(expect(value, kind, what, path))


def _from_text(what: str, read: Callable[[str], Any]) -> Loader:
    def load(value: Json, path: str) -> Any:
        try:
            return read(expect(value, str, what, path))
        except ValueError:
            refuse(what, value, path)

    return load


def _read_datetime(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(_iso(text))


def _read_time(text: str) -> datetime.time:
    return datetime.time.fromisoformat(_iso(text))


def _iso(text: str) -> str:
    """RFC 3339 as Python 3.10 reads it: no Z, and three or six digits of a second."""
    text = text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text
    head, point, tail = text.partition(".")
    if not point:
        return text
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[:digits][:6]:0<6}{tail[digits:]}"


def expect(value: Json, kind: type | tuple[type, ...], what: str, path: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        refuse(what, value, path)
    return value


def refuse(what: str, value: Json, path: str) -> NoReturn:
    raise ValueError(f"{path}: expected {what}, got {value!r:.80}")


def whole(value: Json) -> Json:
    """An integer for a number that is one, however it is spelled; anything else as it is."""
    if isinstance(value, Decimal) and value.adjusted() < MAX_WHOLE_DIGITS and value == int(value):
        return int(value)
    return value


def _plain(value: Json, path: str) -> Any:
    """Any JSON value, decimals as floats."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_plain(item, path) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, path) for key, item in value.items()}
    return value


_NUMBER = (int, Decimal)


def _integer(value: Json, path: str) -> int:
    return int(expect(whole(value), int, "an integer", path))


SCALARS: Mapping[type, Codec] = MappingProxyType(
    {
        int: Codec({"type": "integer"}, _integer),
        float: Codec({"type": "number"}, _scalar(_NUMBER, "a number", float)),
        Decimal: Codec({"type": "number"}, _scalar(_NUMBER, "a number", Decimal)),
        str: Codec({"type": "string"}, _scalar(str, "a string", str)),
        bool: Codec({"type": "boolean"}, _scalar(bool, "true or false", bool)),
        type(None): Codec({"type": "null"}, _scalar(type(None), "null", lambda _: None)),
        object: Codec({}, _plain),
        datetime.date: Codec(
            readable("date"),
            _from_text("a date", datetime.date.fromisoformat),
        ),
        datetime.datetime: Codec(
            readable("date-time"), _from_text("a date and time", _read_datetime)
        ),
        datetime.time: Codec(readable("time"), _from_text("a time", _read_time)),
        uuid.UUID: Codec(readable("uuid"), _from_text("a UUID", uuid.UUID)),
    }
)
