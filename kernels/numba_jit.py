"""How CPU kernels are compiled, and the scalar functions they share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

REASSOCIATE = ("reassoc", "contract", "nsz")
"""Sums may be reordered (so they vectorise); NaN and infinity keep their meaning."""


def jit(function: AnyFunction) -> AnyFunction:
    """Compile on first call, kept on disk; releases the GIL; one thread.

    One thread on purpose: an OpenMP team of numba's beside torch's makes both collapse as soon as
    they outnumber the cores. The compiled form is independent of the values and of the batch size.
    """
    return _compiled(function, fastmath=set(REASSOCIATE))


def jit_exact(function: AnyFunction) -> AnyFunction:
    """`jit` for arithmetic whose order matters: only a * b + c may be fused."""
    return _compiled(function, fastmath={"contract"})


def jit_team(function: AnyFunction) -> AnyFunction:
    """`jit_exact` for functions that many items a second go through, and that make no arrays.

    Without numba's reference counting, which costs an atomic operation wherever an array is taken
    from a tuple or cut from another; whoever calls from Python holds the arrays.
    """
    return _compiled(function, fastmath={"contract"}, _nrt=False)


def _compiled(function: AnyFunction, **options: Any) -> AnyFunction:
    compiled = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    keep_for(_stamp(), compiled)
    return cast(AnyFunction, compiled)


Stamp = tuple[tuple[str, int, int], ...]


def keep_for(stamp: Stamp, compiled: Any) -> None:
    """Keep what is compiled only while the files that its code comes from have this stamp.

    Numba looks at the function's own file only, though it compiles what other files define into
    it: after an update, stale code would run, and say what no source says.
    """
    compiled._cache._cache_file._source_stamp = stamp


def stamp_of(files: Iterable[Path]) -> Stamp:
    """Names, times and sizes of files, in their order."""
    stats = [(path.name, path.stat()) for path in files]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


@functools.cache
def _stamp() -> Stamp:
    """Of all kernels, which are compiled into one another."""
    return stamp_of(sorted(Path(__file__).parent.rglob("*.py")))


@jit_exact
def exp_f32(x: np.float32) -> np.float32:
    """e**x to 2 units in the last place, 0 <= result <= 1.6e38; vectorises, which libm's does not.

    Cephes expf: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial for e**r, and 2**n put together
    from its bits. ln 2 in two parts keeps r exact.
    """
    if x < np.float32(-87.0):
        x = np.float32(-87.0)
    if x > np.float32(88.0):
        x = np.float32(88.0)
    n = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    power = np.uint32((np.int32(n) + np.int32(127)) << np.int32(23))
    return np.float32(p * power.view(np.float32))
