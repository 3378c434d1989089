"""Exceptions as data: class, message, fields and causes survive the way between processes."""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from sestina.lang import errors

MAX_CAUSES = 8


class ErrorData(msgspec.Struct, array_like=True, frozen=True):
    """`fields` are what the class's constructor takes beside, or instead of, the message; `trace`
    is the traceback of an exception that is none of ours."""

    kind: str
    message: str
    fields: dict[str, Any] = {}
    trace: str | None = None
    cause: ErrorData | None = None


def to_data(error: BaseException, depth: int = 0) -> ErrorData:
    """An exception and what caused it."""
    cause = error.__cause__
    is_ours = isinstance(error, errors.SestinaError)
    return ErrorData(
        type(error).__name__,
        _message(error),
        _fields(error),
        None if is_ours else "".join(traceback.format_tb(error.__traceback__)) or None,
        None if cause is None or depth >= MAX_CAUSES else to_data(cause, depth + 1),
    )


def from_data(data: ErrorData) -> Exception:
    """An equal exception. One of an unknown class becomes a RuntimeError that names the class."""
    cause = None if data.cause is None else from_data(data.cause)
    error = _make(data, cause)
    if cause is not None:
        error.__cause__ = cause
    if data.trace and hasattr(error, "add_note"):  # from Python 3.11 on
        error.add_note(f"Traceback in the engine's process (innermost last):\n{data.trace}")
    return error


def sestina_error(data: ErrorData) -> errors.SestinaError:
    """As `from_data`, where only one of ours can be."""
    error = from_data(data)
    if isinstance(error, errors.SestinaError):
        return error
    wrapped = errors.InternalError(f"{data.kind}: {data.message}")
    wrapped.__cause__ = error
    return wrapped


def _message(error: BaseException) -> str:
    """What the constructor takes: `str` of a KeyError has quotes that are not part of it."""
    is_plain = len(error.args) == 1 and isinstance(error.args[0], str)
    return str(error.args[0]) if is_plain else str(error)


def _fields(error: BaseException) -> dict[str, Any]:
    names: tuple[str, ...]
    if isinstance(error, errors.ConstraintError):
        names = ("reason", "pointer", "keyword", "source", "position")
    elif isinstance(error, errors.UnsupportedNode):
        names = ("client", "node")
    elif isinstance(error, errors.ProgramError):
        names = ("op", "location")
    else:
        return {}
    return {name: getattr(error, name) for name in names}


def _make(data: ErrorData, cause: Exception | None) -> Exception:
    kind = _KINDS.get(data.kind)
    if kind is not None:
        return kind(data, cause)
    builtin = getattr(builtins, data.kind, None)
    if isinstance(builtin, type) and issubclass(builtin, Exception):
        try:
            error: Exception = builtin(data.message)
        except TypeError:  # UnicodeEncodeError and others that want more than a message
            pass
        else:
            return error
    return RuntimeError(_described(data))


def _described(data: ErrorData) -> str:
    return f"{data.kind}: {data.message}"


Maker = Callable[[ErrorData, "Exception | None"], Exception]


def _plain(kind: type[errors.SestinaError]) -> Maker:
    return lambda data, _: kind(data.message)


def _constraint(kind: type[errors.ConstraintError]) -> Maker:
    def make(data: ErrorData, _: Exception | None) -> Exception:
        options = dict(data.fields)
        return kind(options.pop("reason", data.message), **options)

    return make


def _program(data: ErrorData, cause: Exception | None) -> Exception:
    fields = data.fields
    return errors.ProgramError(
        cause or RuntimeError(data.message), op=fields["op"], location=fields["location"]
    )


def _makers() -> Mapping[str, Maker]:
    makers: dict[str, Maker] = {}
    for kind in vars(errors).values():
        if not isinstance(kind, type):
            continue
        if issubclass(kind, errors.ConstraintError):
            makers[kind.__name__] = _constraint(kind)
        elif issubclass(kind, errors.SestinaError):
            makers[kind.__name__] = _plain(kind)
    makers["UnsupportedNode"] = lambda data, _: errors.UnsupportedNode(**data.fields)
    makers["ProgramError"] = _program
    return MappingProxyType(makers)


_KINDS = _makers()
