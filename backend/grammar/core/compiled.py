"""How the core is compiled, and when what was compiled before may be used again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

from sestina.kernels.token_mask import cpu

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def jit(function: AnyFunction) -> AnyFunction:
    """Compile on first call, kept on disk; releases the GIL."""
    compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    keep_while_unchanged(compiled)
    return cast(AnyFunction, compiled)


def _word(x: Any) -> int:
    """Any integer as a word of the memory. Arguments are all words, so that a function is compiled
    once, and not for each width of its integers."""
    return np.int64(x)  # type: ignore[return-value]


def keep_while_unchanged(compiled: Any) -> None:
    """Compile again when any file of the core has changed.

    Numba looks at the function's own file only, though it compiles what other files define into
    it: after an update, stale code would run, and say what no source says.
    """
    compiled._cache._cache_file._source_stamp = _stamp()


@functools.cache
def _stamp() -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of the files whose code is compiled into one another."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(cpu.__file__)]
    stats = [(path.name, path.stat()) for path in files]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


word = jit(_word)
