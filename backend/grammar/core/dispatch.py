"""The functions behind `entries`, and their addresses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba import carray  # type: ignore[attr-defined]
from numba.core.ccallback import CFunc

from sestina.backend.grammar.core import clamp, derive, entries, intern, liveness, union
from sestina.backend.grammar.core.compiled import keep_while_unchanged
from sestina.backend.grammar.core.memory import ALGEBRA, LANGUAGE, Words


def install(mem: Words) -> None:
    """Put the addresses into a memory's header. Compiles them the first time."""
    mem[ALGEBRA] = _compiled(_algebra).address
    mem[LANGUAGE] = _compiled(_language).address


@functools.cache
def _compiled(function: Callable[..., int]) -> Any:
    compiled = CFunc(function, (entries.SIGNATURE.args, entries.SIGNATURE.return_type), {}, {})
    compiled.enable_caching()
    keep_while_unchanged(compiled)
    compiled.compile()
    return compiled


def _algebra(words: Any, size: int, do: int, x: int, y: int, z: int) -> int:
    mem = carray(words, size)
    if do == entries.DO_CAT:
        return intern.cat(mem, x, y)
    if do == entries.DO_ALT:
        return union.alt(mem, x, y)
    if do == entries.DO_BOTH:
        return union.both(mem, x)
    if do == entries.DO_REPEAT:
        return intern.repeat(mem, x, y, z)
    if do == entries.DO_COMPLEMENT:
        return intern.complement(mem, x)
    if do == entries.DO_LITERAL:
        return intern.literal(mem, x, y)
    return union.without_complements(mem, x)


def _language(words: Any, size: int, do: int, x: int, y: int, z: int) -> int:
    mem = carray(words, size)
    if do == entries.DO_DERIVE:
        return derive.derivative(mem, x, y)
    if do == entries.DO_LIVE:
        return liveness.live(mem, x)
    if do == entries.DO_STEP:
        return liveness.step(mem, x, y)
    if do == entries.DO_PARTITION:
        return derive.partition(mem, x)
    return clamp.clamped(mem, x, y)
