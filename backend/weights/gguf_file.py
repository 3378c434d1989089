"""The header of a GGUF file: metadata as Python values, and where each tensor lies.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little
endian). Arrays of numbers are unpacked in one go and strings sliced from a memory map, so a
vocabulary of 49k tokens with its merges takes about 50 ms (the gguf package's reader: seconds).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from sestina.lang.errors import ModelError

Value = bool | int | float | str | list["Value"]

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
MAX_AXES = 4
_ALIGNMENT = 32  # of the tensors' data, unless general.alignment says otherwise


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """shape: outermost axis first, as torch has it. kind: ggml's number of the data type.
    start: offset of the data in the file, in bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int


class Header(NamedTuple):
    """Everything a GGUF file says before its data."""

    metadata: dict[str, Value]
    tensors: dict[str, TensorInfo]


def read_metadata(path: Path) -> dict[str, Value]:
    """All metadata of a GGUF file by key. ModelError if it is not one, or is cut short."""
    return read_header(path).metadata


def read_header(path: Path) -> Header:
    """Metadata and tensors of a GGUF file. ModelError if it is not one, or is cut short."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data, path).header()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, struct.error, RecursionError) as error:  # empty, bad UTF-8, past its end
        raise ModelError(f"{path} is not a complete GGUF file: {error}") from error


class _Reader:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        self._path = path
        self._at = 0

    def header(self) -> Header:
        magic, version = self._unpack("4sI")
        if magic != b"GGUF":
            raise ModelError(f"{self._path} is not a GGUF file")
        if version not in (2, 3):
            readable = "only versions 2 and 3, little endian, can be read"
            raise ModelError(f"{self._path} has GGUF version {version}; {readable}")
        num_tensors, num_keys = self._unpack("QQ")
        found: dict[str, Value] = {}
        for _ in range(num_keys):
            key = self._string()
            found[key] = self._value(self._unpack("I")[0])
        return Header(found, self._tensors(num_tensors, found.get("general.alignment", _ALIGNMENT)))

    def _tensors(self, count: int, alignment: Value) -> dict[str, TensorInfo]:
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"general.alignment is {alignment!r}")
        infos = []
        for _ in range(count):
            name = self._string()
            (num_axes,) = self._unpack("I")
            if num_axes > MAX_AXES:
                raise ValueError(f"tensor {name} has {num_axes} axes")
            axes = self._unpack(f"{num_axes}Q")
            kind, offset = self._unpack("IQ")
            infos.append(TensorInfo(name, axes[::-1], kind, offset))
        base = -(-self._at // alignment) * alignment
        return {info.name: replace(info, start=base + info.start) for info in infos}

    def _unpack(self, form: str) -> tuple[Any, ...]:
        # "<" also means no padding, as in the file.
        values = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return values

    def _string(self) -> str:
        (size,) = self._unpack("Q")
        data = self._data[self._at : self._at + size]
        if len(data) != size:
            raise ValueError("a string goes past its end")
        self._at += size
        return data.decode("utf-8")

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            item_kind, count = self._unpack("IQ")
            if count > len(self._data):  # at least a byte each
                raise ValueError("an array goes past its end")
            if item_kind in _SCALARS:
                return list(self._unpack(f"{count}{_SCALARS[item_kind]}"))
            return [self._value(item_kind) for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"unknown value type {kind}")
        (value,) = self._unpack(_SCALARS[kind])
        return cast(Value, value)
