"""Packed weights on disk, so that they are quantised and packed once for each checkpoint and dtype.

One safetensors file for each, in `packed/` of the user's cache folder. It is used only if it was
made of just these files by just this layout, holds exactly the arrays expected, and has the
checksum it says; else it is made anew. It is mapped, not read: processes share its memory. A file
shows up in one rename, so there is never a part of one, and who writes last wins with equal bytes.
A folder that cannot be written to costs only the time to pack again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import mmap
import os
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from sestina.backend.batch import ModelConfig
from sestina.backend.weights.fetch import cache_dir
from sestina.kernels.linear.packed import LAYOUT

Array = NDArray[Any]

LINE = 64
"""Data begins a cache line in the file, and so in memory (`sestina.kernels.aligned`)."""

_NAMES = {"I8": np.int8, "U16": np.uint16, "F32": np.float32}
_MOST_HEADER = 1 << 20
_LOG = logging.getLogger(__name__)


class Expected(NamedTuple):
    """dtype int8, uint16 or float32; all but the last arrays should be multiples of LINE bytes."""

    dtype: DTypeLike
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PackedFile:
    """Where the packed weights of one checkpoint in one dtype are kept.

    key: of what they are made from: the layout, the dtype, the config, and of each file of the
    checkpoint its path, size and times of change (the second cannot be set back).
    """

    path: Path
    source: Path
    config: ModelConfig
    dtype: torch.dtype
    key: str

    @classmethod
    def of(cls, source: Path, config: ModelConfig, dtype: torch.dtype) -> PackedFile:
        """For the checkpoint in the file or directory `source`.

        OSError if that is gone, RuntimeError where there is no cache folder (a user without home).
        """
        place = _digest(os.path.realpath(source), str(dtype))[:32]
        path = cache_dir() / "packed" / f"{place}.safetensors"
        return cls(path, source, config, dtype, _key(source, config, dtype))

    def read(self, expected: Mapping[str, Expected]) -> dict[str, Array] | None:
        """The arrays, or None if there is no such file or it is not the one to use.

        Mapped: a write to them stays in this process. Each begins a cache line. Cost: one pass
        over the bytes for the checksum, some 70 ms for 135 MB in memory.
        """
        try:
            with self.path.open("rb") as file:
                # Not ACCESS_READ: numba compiles anew for arrays that cannot be written to.
                data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
            start, said = _read_header(data)
        except (OSError, ValueError, RecursionError):  # none, or empty; no header, or not JSON
            return None
        entries, size = _entries(expected)
        body = data[start:]
        if start % LINE or len(body) != size:
            return None
        meta = said.pop("__metadata__", None)
        if said != entries or meta != {"key": self.key, "sum": _checksum(body)}:
            return None
        arrays, at = {}, 0
        for name, (dtype, shape) in expected.items():
            num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
            arrays[name] = body[at : at + num_bytes].view(dtype).reshape(shape)
            at += num_bytes
        return arrays

    def write(self, arrays: Mapping[str, Array]) -> None:
        """Keep the arrays; nothing is kept, with one warning, where that is not possible.

        Nor if the checkpoint has changed since this object was made.
        """
        try:
            if _key(self.source, self.config, self.dtype) != self.key:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(arrays)
        except OSError as error:
            _LOG.warning("packed weights are not kept in %s: %s", self.path.parent, error)

    def _write(self, arrays: Mapping[str, Array]) -> None:
        entries, _ = _entries({n: Expected(a.dtype, a.shape) for n, a in arrays.items()})
        flat = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays.values()]
        said = {"__metadata__": {"key": self.key, "sum": _checksum(*flat)}, **entries}
        header = json.dumps(said, separators=(",", ":")).encode()
        header += b" " * (-(8 + len(header)) % LINE)
        # In the folder itself: the rename must not cross file systems.
        handle, partial = tempfile.mkstemp(prefix=".partial-", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(len(header).to_bytes(8, "little") + header)
                for piece in flat:
                    file.write(piece.data)
            os.replace(partial, self.path)
        except BaseException:
            os.unlink(partial)
            raise


def _key(source: Path, config: ModelConfig, dtype: torch.dtype) -> str:
    files = [source]
    if source.is_dir():
        found = [*source.glob("*.safetensors"), *source.glob("*.json")]
        files = sorted(file for file in found if file.is_file())
    stats = [(os.path.realpath(file), file.stat()) for file in files]
    state = [(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in stats]
    return _digest(str(LAYOUT), str(dtype), repr(config), repr(state))


def _digest(*texts: str) -> str:
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=32).hexdigest()


def _read_header(data: Array) -> tuple[int, dict[str, Any]]:
    """Where the data begins, and the JSON object before it; ValueError if there is none."""
    size = int.from_bytes(data[:8].tobytes(), "little")
    if not 0 < size <= _MOST_HEADER:
        raise ValueError("no safetensors header")
    said = json.loads(data[8 : 8 + size].tobytes())
    if not isinstance(said, dict):
        raise ValueError("the header is not an object")
    return 8 + size, said


def _entries(expected: Mapping[str, Expected]) -> tuple[dict[str, Any], int]:
    """What a header says of these arrays, one after another, and their size in bytes."""
    names = {np.dtype(dtype): name for name, dtype in _NAMES.items()}
    entries, at = {}, 0
    for name, (dtype, shape) in expected.items():
        end = at + math.prod(shape) * np.dtype(dtype).itemsize
        entries[name] = {
            "dtype": names[np.dtype(dtype)],
            "shape": list(shape),
            "data_offsets": [at, end],
        }
        at = end
    return entries, at


def _checksum(*parts: Array) -> str:
    """CRC-32: finds what disks and crashes do, not what an enemy does; 0.5 ms for each MB.

    A cryptographic hash would take longer than all else there is to do.
    """
    total = 0
    for part in parts:
        total = zlib.crc32(part.data, total)
    return f"{total:08x}"
