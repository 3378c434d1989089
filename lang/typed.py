"""Python types as JSON Schemas, and JSON text back to values of those types.

Understood, at any depth: int, float, str, bool, None, Any, Literal, Enum, Optional and unions,
list, set, frozenset, tuple, dict with str keys, date, datetime, time, UUID, Decimal, Annotated,
dataclass, TypedDict, NamedTuple. Pydantic does the work for its models, for Annotated types whose
metadata demand something, and for every type not named here that it knows. Classes become `$defs`,
so they may refer to themselves.

`parse` is strict: a value of another type is refused with its path. A union takes the first
member that accepts the value.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sestina.lang import json_text, pydantic_schema
from sestina.lang.errors import ConstraintError, UnsupportedConstraint
from sestina.lang.typed_scalars import SCALARS, Codec, Json, expect, refuse, whole


def schema_of(python_type: Any) -> dict[str, Any]:
    """The JSON Schema of a Python type; objects of a class take no extra keys.

    UnsupportedConstraint names a type that is not understood.

    >>> schema_of(list[int])
    {'type': 'array', 'items': {'type': 'integer'}}
    """
    if pydantic_schema.is_pydantic(python_type):
        return pydantic_schema.schema_of(python_type)
    builder = _Builder()
    schema = builder.codec(python_type).schema
    return {**schema, "$defs": builder.definitions} if builder.definitions else schema


def parse(python_type: Any, text: str) -> Any:
    """The value of `python_type` that JSON `text` spells.

    ValueError (pydantic's own ValidationError is one) says what does not fit and where.

    >>> parse(dict[str, float], '{"pi": 3.14}')
    {'pi': 3.14}
    """
    if pydantic_schema.is_pydantic(python_type):
        return pydantic_schema.parser(python_type)(text)
    try:
        value = json_text.loads(text, distinct_keys=False)  # a generated dict may repeat one
    except ConstraintError as error:
        raise ValueError(str(error)) from error
    return _Builder().codec(python_type).load(value, "$")


class _Builder:
    """Builds codecs; `definitions` are the `$defs` of the classes met."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.classes: dict[Any, Codec] = {}

    def codec(self, python_type: Any) -> Codec:
        if python_type in (None, Any):
            python_type = {None: type(None), Any: object}[python_type]
        if python_type == tuple[()]:  # which else looks like a bare `tuple` from 3.11 on
            return _fixed_tuple([], tuple)
        origin = typing.get_origin(python_type)
        if origin in _GENERIC:
            return _GENERIC[origin](self, typing.get_args(python_type))
        if isinstance(python_type, type):
            if python_type in SCALARS:
                return SCALARS[python_type]
            if python_type in _GENERIC:
                return _GENERIC[python_type](self, ())
            for is_kind, build in _CLASS_KINDS:
                if is_kind(python_type):
                    return self.named(python_type, build)
        if isinstance(python_type, str):
            raise UnsupportedConstraint(f"no JSON Schema for the type {python_type!r}")
        return _pydantic(self, python_type)

    def named(self, cls: Any, build: Callable[[_Builder, Any], Codec]) -> Codec:
        """The codec of a class: a reference, since the class may mention itself."""
        if cls not in self.classes:
            name, number = cls.__name__, 1
            while name in self.definitions:  # two classes may share a name
                number += 1
                name = f"{cls.__name__}-{number}"
            self.definitions[name] = {}

            # The class may be met again while its own fields are read: it loads by look-up.
            built: list[Codec] = []
            self.classes[cls] = Codec(
                {"$ref": f"#/$defs/{name}"}, lambda value, path: built[0].load(value, path)
            )
            built.append(build(self, cls))
            self.definitions[name] = built[0].schema
        return self.classes[cls]


# ---- generic types ----------------------------------------------------------------------------


def _list(builder: _Builder, args: tuple[Any, ...]) -> Codec:
    item = builder.codec(args[0] if args else Any)

    def load(value: Json, path: str) -> list[Any]:
        values = expect(value, list, "an array", path)
        return [item.load(v, f"{path}[{i}]") for i, v in enumerate(values)]

    return Codec({"type": "array", "items": item.schema}, load)


def _set(builder: _Builder, args: tuple[Any, ...]) -> Codec:
    items = _list(builder, args)
    return Codec(items.schema, lambda value, path: set(items.load(value, path)))


def _frozenset(builder: _Builder, args: tuple[Any, ...]) -> Codec:
    items = _list(builder, args)
    return Codec(items.schema, lambda value, path: frozenset(items.load(value, path)))


def _tuple(builder: _Builder, args: tuple[Any, ...]) -> Codec:
    if not args or args[-1] is Ellipsis:
        items = _list(builder, args[:1])
        return Codec(items.schema, lambda value, path: tuple(items.load(value, path)))
    return _fixed_tuple([builder.codec(arg) for arg in args], tuple)


def _fixed_tuple(parts: list[Codec], make: Callable[[list[Any]], Any]) -> Codec:
    length = len(parts)

    def load(value: Json, path: str) -> Any:
        values = expect(value, list, "an array", path)
        if len(values) != length:
            refuse(f"an array of {length} items", value, path)
        loaded = [
            p.load(v, f"{path}[{i}]") for i, (p, v) in enumerate(zip(parts, values, strict=True))
        ]
        return make(loaded)

    schema: dict[str, Any] = {"type": "array", "minItems": length, "maxItems": length}
    if parts:
        schema["prefixItems"] = [part.schema for part in parts]
    return Codec(schema, load)


def _dict(builder: _Builder, args: tuple[Any, ...]) -> Codec:
    if args and args[0] is not str:
        raise UnsupportedConstraint(f"JSON object keys are strings, not {args[0]!r}")
    item = builder.codec(args[1] if args else Any)

    def load(value: Json, path: str) -> dict[str, Any]:
        pairs = expect(value, dict, "an object", path)
        return {k: item.load(v, f"{path}.{k}") for k, v in pairs.items()}

    return Codec({"type": "object", "additionalProperties": item.schema}, load)


def _union(builder: _Builder, args: tuple[Any, ...]) -> Codec:
    members = [builder.codec(arg) for arg in args]

    def load(value: Json, path: str) -> Any:
        reasons = []
        for member in members:
            try:
                return member.load(value, path)
            except ValueError as error:
                reasons.append(str(error))
        raise ValueError("; or ".join(reasons))

    return Codec({"anyOf": [member.schema for member in members]}, load)


def _literal(builder: _Builder, args: tuple[Any, ...]) -> Codec:
    return _one_of({_json_of(arg): arg for arg in args})


def _annotated(builder: _Builder, args: tuple[Any, ...]) -> Codec:
    """Metadata that demands something (`Field(gt=0)`) makes it a type of pydantic's."""
    if any(map(pydantic_schema.is_demand, args[1:])):
        return _pydantic(builder, typing.Annotated[args])
    return builder.codec(args[0])


# ---- classes ----------------------------------------------------------------------------------


def _enum(builder: _Builder, cls: Any) -> Codec:
    return _one_of({_json_of(member.value): member for member in cls})


def _one_of(values: dict[tuple[type, Any], Any]) -> Codec:
    if not values:
        raise UnsupportedConstraint("an enumeration without members")

    def load(value: Json, path: str) -> Any:
        value = whole(value)
        key = (type(value), value if not isinstance(value, (list, dict)) else None)
        if key not in values:
            refuse("one of " + ", ".join(repr(v) for _, v in values), value, path)
        return values[key]

    return Codec({"enum": [value for _, value in values]}, load)


def _json_of(value: Any) -> tuple[type, Any]:
    """A key that tells 1 from True. Only str, int, bool and None have an exact JSON form."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None:
        return type(None), None
    for kind in (bool, int, str):
        if isinstance(value, kind):
            return kind, kind(value)
    raise UnsupportedConstraint(f"no exact JSON for the enumerated value {value!r}")


def _hints(cls: Any) -> dict[str, Any]:
    """The annotations of a class, evaluated, with Annotated and Required kept."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise UnsupportedConstraint(
            f"an annotation of {cls.__name__} cannot be read here: {error}"
        ) from error


def _dataclass(builder: _Builder, cls: Any) -> Codec:
    hints = _hints(cls)
    fields = [f for f in dataclasses.fields(cls) if f.init]
    required = [
        f.name
        for f in fields
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    return _record(builder, {f.name: hints[f.name] for f in fields}, required, cls)


def _is_typed_dict(cls: Any) -> bool:
    """Also those of typing_extensions, which pydantic asks for."""
    return issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def _typed_dict(builder: _Builder, cls: Any) -> Codec:
    hints = {name: _unwrapped(hint) for name, hint in _hints(cls).items()}
    return _record(builder, hints, [n for n in hints if n in _required_keys(cls)], dict)


def _required_keys(cls: Any) -> set[str]:
    """The required keys; postponed annotations hide Required and NotRequired from the class."""
    required = set(cls.__required_keys__)
    for name, hint in _hints(cls).items():
        marker = getattr(typing.get_origin(hint), "_name", None)
        if marker in ("Required", "NotRequired"):
            (required.add if marker == "Required" else required.discard)(name)
    return required


def _unwrapped(hint: Any) -> Any:
    marker = getattr(typing.get_origin(hint), "_name", None)
    known = ("Required", "NotRequired", "ReadOnly")
    return _unwrapped(typing.get_args(hint)[0]) if marker in known else hint


def _named_tuple(builder: _Builder, cls: Any) -> Codec:
    hints = _hints(cls)
    parts = [builder.codec(hints.get(name, Any)) for name in cls._fields]
    return _fixed_tuple(parts, cls._make)


def _record(
    builder: _Builder, hints: Mapping[str, Any], required: list[str], make: Callable[..., Any]
) -> Codec:
    """An object with known keys, given to `make` as keyword arguments."""
    members = {name: builder.codec(hint) for name, hint in hints.items()}

    def load(value: Json, path: str) -> Any:
        pairs = expect(value, dict, "an object", path)
        for name in [*required, *pairs]:
            if name not in pairs:
                refuse(f"an object with the key {name!r}", value, path)
            if name not in members:
                refuse(f"an object without the key {name!r}", value, path)
        return make(**{k: members[k].load(v, f"{path}.{k}") for k, v in pairs.items()})

    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: member.schema for name, member in members.items()},
        "required": required,
        "additionalProperties": False,
    }
    return Codec(schema, load)


def _pydantic(builder: _Builder, python_type: Any) -> Codec:
    prefix = f"{getattr(python_type, '__name__', '')}."  # its own $defs must meet no other's
    while any(name.startswith(prefix) for name in builder.definitions):
        prefix = "." + prefix
    schema = pydantic_schema.schema_of(python_type, prefix)
    builder.definitions |= schema.pop("$defs", {})
    read = pydantic_schema.parser(python_type)
    return Codec(schema, lambda value, _: read(json_text.dumps(value)))


_GENERIC: Mapping[Any, Callable[[_Builder, tuple[Any, ...]], Codec]] = MappingProxyType(
    {
        list: _list,
        set: _set,
        frozenset: _frozenset,
        tuple: _tuple,
        dict: _dict,
        typing.Union: _union,
        types.UnionType: _union,
        typing.Literal: _literal,
        typing.Annotated: _annotated,
    }
)

_CLASS_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[_Builder, Any], Codec]], ...] = (
    (pydantic_schema.is_pydantic, _pydantic),
    (lambda cls: issubclass(cls, enum.Enum), _enum),
    (dataclasses.is_dataclass, _dataclass),
    (_is_typed_dict, _typed_dict),
    (lambda cls: issubclass(cls, tuple) and hasattr(cls, "_fields"), _named_tuple),
)
