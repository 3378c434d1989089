"""How CPU kernels are compiled, and the scalar functions they share."""

from __future__ import annotations

from collections.abc import Callable
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
    options = numba.njit(cache=True, nogil=True, fastmath=set(REASSOCIATE), error_model="numpy")
    return cast(AnyFunction, options(function))


def jit_exact(function: AnyFunction) -> AnyFunction:
    """`jit` for arithmetic whose order matters: only a * b + c may be fused."""
    options = numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
    return cast(AnyFunction, options(function))


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
