"""How the core is compiled, and when what was compiled before may be used again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

from sestina.kernels.numba_jit import Stamp, keep_for, stamp_of
from sestina.kernels.token_mask import cpu

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def jit(function: AnyFunction) -> AnyFunction:
    """Compile on first call, kept on disk; releases the GIL.

    Without numba's reference counting, which costs atomic operations wherever an array is taken
    from a tuple or handed on: ten times what all else in a trie's walk does. Whoever calls from
    Python holds the arrays. A function that makes some needs `jit_with_arrays`, as numba says when
    it compiles; so does one that has some from another, which would never be freed.
    """
    return _compiled(function, with_arrays=False)


def jit_with_arrays(function: AnyFunction) -> AnyFunction:
    """The same for functions that make arrays or lists, are handed lists, or call what returns
    either. What they do many times had better be in functions that are none of these."""
    return _compiled(function, with_arrays=True)


def _compiled(function: AnyFunction, with_arrays: bool) -> AnyFunction:
    # Always said: where it is not, numba goes by the function that calls.
    options: dict[str, Any] = {
        "cache": True,
        "nogil": True,
        "error_model": "numpy",
        "_nrt": with_arrays,
    }
    compiled = numba.njit(**options)(function)
    keep_while_unchanged(compiled)
    return cast(AnyFunction, compiled)


def _word(x: Any) -> int:
    """Any integer as a word of the memory. Arguments are all words, so that a function is compiled
    once, and not for each width of its integers."""
    return np.int64(x)  # type: ignore[return-value]


def keep_while_unchanged(compiled: Any) -> None:
    """Compile again when any file of the core has changed."""
    keep_for(_stamp(), compiled)


@functools.cache
def _stamp() -> Stamp:
    """Of the files whose code is compiled into one another."""
    return stamp_of([*sorted(Path(__file__).parent.glob("*.py")), Path(cpu.__file__)])


word = jit(_word)
