"""What crosses between an engine's front and its worker: msgspec structs, as msgpack.

The schema of ops and events is derived from their dataclasses (`lang/ir.py`, `lang/session.py`), so
there is no second list of fields. What is decoded is checked against it, constraints as if the user
had written them; a frame that does not fit raises msgspec.ValidationError.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import msgspec

from sestina.backend.options import EngineOptions
from sestina.backend.process.errors import ErrorData, sestina_error, to_data
from sestina.lang import constraint as constraints
from sestina.lang import ir
from sestina.lang.errors import InvalidParams, UnsupportedNode
from sestina.lang.session import Event, Failed, SessionOptions


@dataclass(frozen=True, slots=True)
class _Mirror:
    """A struct with the fields of a dataclass. Some travel in another form: `send` and `receive`
    convert those."""

    kind: type
    struct: type[msgspec.Struct]
    names: tuple[str, ...]
    send: Mapping[str, Callable[[Any], Any]]
    receive: Mapping[str, Callable[[Any], Any]]

    @classmethod
    def of(cls, kind: type, **converted: tuple[Any, Callable[..., Any], Callable[..., Any]]) -> Any:
        hints = get_type_hints(kind)
        names = tuple(f.name for f in fields(kind))
        types = {name: converted[name][0] if name in converted else hints[name] for name in names}
        struct = msgspec.defstruct(
            kind.__name__, list(types.items()), tag=kind.__name__, array_like=True, frozen=True
        )
        send = {name: each[1] for name, each in converted.items()}
        receive = {name: each[2] for name, each in converted.items()}
        return cls(kind, struct, names, send, receive)

    def to_struct(self, value: Any) -> msgspec.Struct:
        if not self.send:
            return self.struct(*[getattr(value, name) for name in self.names])
        return self.struct(*self._converted(value, self.send))

    def to_value(self, struct: Any) -> Any:
        return self.kind(*self._converted(struct, self.receive))

    def _converted(self, source: Any, by: Mapping[str, Callable[[Any], Any]]) -> list[Any]:
        values = [getattr(source, name) for name in self.names]
        for i, name in enumerate(self.names):
            if name in by:
                values[i] = by[name](values[i])
        return values


def _send_constraint(value: constraints.Constraint | None) -> dict[str, Any] | None:
    return None if value is None else value.to_data()


def _receive_constraint(data: dict[str, Any] | None) -> constraints.Constraint | None:
    return None if data is None else constraints.from_data(data)


_CONVERTED: Mapping[type, Mapping[str, tuple[Any, Callable[..., Any], Callable[..., Any]]]] = {
    ir.Gen: {"constraint": (dict[str, Any] | None, _send_constraint, _receive_constraint)},
    Failed: {"error": (ErrorData, to_data, sestina_error)},
}
_MIRRORS = tuple(
    _Mirror.of(kind, **_CONVERTED.get(kind, {})) for kind in (*get_args(ir.Op), *get_args(Event))
)
_BY_KIND: Mapping[type, _Mirror] = MappingProxyType({m.kind: m for m in _MIRRORS})
_BY_STRUCT: Mapping[type, _Mirror] = MappingProxyType({m.struct: m for m in _MIRRORS})


def _union(kinds: Sequence[type]) -> Any:
    return functools.reduce(operator.or_, (_BY_KIND[kind].struct for kind in kinds))


_OpData: Any = _union(get_args(ir.Op))
_EventData: Any = _union(get_args(Event))


class _Message(msgspec.Struct, array_like=True, tag=True):
    """A frame. The first element is the name of its class."""


# ---- to the worker


class Start(_Message):
    model: str
    options: EngineOptions


class Open(_Message):
    """Start program number `session`; numbers are chosen by the front."""

    session: int
    options: SessionOptions
    seed: int


class Submit(_Message):
    session: int
    branch: str
    ops: tuple[_OpData, ...]


class Cancel(_Message):
    session: int
    branch: str | None


class CloseSession(_Message):
    session: int


class Acknowledge(_Message):
    """The session's reader has read so many more events."""

    session: int
    num_events: int


class Call(_Message):
    """Answered by Returned or Raised with the same number."""

    number: int
    method: str


class Stop(_Message):
    pass


# ---- to the front


class Ready(_Message):
    pass


class StartFailed(_Message):
    error: ErrorData


class Events(_Message):
    """Events of several sessions in order; None: that session's last was sent."""

    events: tuple[tuple[int, _EventData | None], ...]


class SessionFailed(_Message):
    """What was sent to this session cannot be carried out."""

    session: int
    error: ErrorData


class Returned(_Message):
    number: int
    result: msgspec.Raw


class Raised(_Message):
    number: int
    error: ErrorData


class Broken(_Message):
    """The worker's engine has ended by itself, and why."""

    error: ErrorData


class Stopped(_Message):
    """Everything is answered, and the worker is about to end."""


Command = Start | Open | Submit | Cancel | CloseSession | Acknowledge | Call | Stop
Report = Ready | StartFailed | Events | SessionFailed | Returned | Raised | Broken | Stopped

_encoder = msgspec.msgpack.Encoder()
_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def encode(message: Command | Report) -> bytes:
    """InvalidParams for what is no data, or text that UTF-8 cannot write."""
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidParams(f"this cannot be sent to the engine's process: {error}") from error


def decode_command(frame: bytes) -> Command:
    return _commands.decode(frame)


def session_of(frame: bytes) -> int | None:
    """The session that a command which does not fit the schema was meant for, if it can be told."""
    data = msgspec.msgpack.decode(frame)
    is_told = isinstance(data, list) and len(data) > 1 and isinstance(data[1], int)
    return data[1] if is_told else None


def decode_report(frame: bytes) -> Report:
    return _reports.decode(frame)


def ops_to_data(ops: Sequence[ir.Op]) -> tuple[Any, ...]:
    """UnsupportedNode for what is no op at all."""
    for op in ops:
        if type(op) not in _BY_KIND:
            raise UnsupportedNode("the engine's process", type(op).__name__)
    return tuple(_BY_KIND[type(op)].to_struct(op) for op in ops)


def ops_from_data(data: Sequence[Any]) -> list[ir.Op]:
    """ConstraintError where a constraint is not well-formed."""
    return [_BY_STRUCT[type(each)].to_value(each) for each in data]


def event_to_data(event: Event) -> Any:
    return _BY_KIND[type(event)].to_struct(event)


def event_from_data(data: Any) -> Event:
    event: Event = _BY_STRUCT[type(data)].to_value(data)
    return event
