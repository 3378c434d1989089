"""Calling the core's larger functions through their addresses.

Numba compiles whatever a function calls into that function, again for each caller. Calls through an
address end that: what is below (`algebra`, `language`) is compiled once, and may call itself, which
numba could not keep on disk otherwise. The addresses stand in the memory's header; `install` in
`dispatch` puts them there. Such a call costs little more than a plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sestina.backend.grammar.core.compiled import jit
from sestina.backend.grammar.core.memory import ALGEBRA, LANGUAGE, Words

(DO_CAT, DO_ALT, DO_BOTH, DO_REPEAT, DO_COMPLEMENT, DO_LITERAL, DO_WIDEN) = range(7)
(DO_DERIVE, DO_LIVE, DO_STEP, DO_PARTITION, DO_CLAMP) = range(5)

FACTOR_DEPTH = 16
"""How many equal heads in a row `alt` factors out; beyond it results are larger, not different."""

_POINTER: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
SIGNATURE = types.int64(_POINTER, *[types.int64] * 5)
"""(words of the memory, how many, what to do, x, y, z)."""


def _emit_call(
    typing: Any, address: Any, mem: Any, do: Any, x: Any, y: Any, z: Any
) -> tuple[Any, Callable[..., Any]]:
    signature = types.int64(types.int64, mem, *[types.int64] * 4)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at, array, *numbers = args
        words = context.make_array(signature.args[1])(context, builder, array)
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [words.data.type, *[word] * 5])
        function = builder.inttoptr(at, kind.as_pointer())
        return builder.call(function, [words.data, words.nitems, *numbers])

    return signature, emit


_call: Any = intrinsic(_emit_call)


# ---- algebra: making expressions, see `intern` and `union`


@jit
def cat(mem: Words, first: int, rest: int) -> int:
    return _call(mem[ALGEBRA], mem, DO_CAT, first, rest, 0)


@jit
def alt(mem: Words, start: int, depth: int) -> int:
    """Any of the expressions mem[start : TOP], which are taken off the stack."""
    return _call(mem[ALGEBRA], mem, DO_ALT, start, depth, 0)


@jit
def both(mem: Words, start: int) -> int:
    """All of them at once."""
    return _call(mem[ALGEBRA], mem, DO_BOTH, start, 0, 0)


@jit
def repeat(mem: Words, item: int, lo: int, hi: int) -> int:
    return _call(mem[ALGEBRA], mem, DO_REPEAT, item, lo, hi)


@jit
def complement(mem: Words, item: int) -> int:
    return _call(mem[ALGEBRA], mem, DO_COMPLEMENT, item, 0, 0)


@jit
def literal(mem: Words, x: int, count: int) -> int:
    return _call(mem[ALGEBRA], mem, DO_LITERAL, x, count, 0)


@jit
def without_complements(mem: Words, e: int) -> int:
    return _call(mem[ALGEBRA], mem, DO_WIDEN, e, 0, 0)


# ---- language: what may follow, see `derive`, `liveness` and `clamp`


@jit
def derivative(mem: Words, e: int, symbol: int) -> int:
    return _call(mem[LANGUAGE], mem, DO_DERIVE, e, symbol, 0)


@jit
def live(mem: Words, e: int) -> int:
    return _call(mem[LANGUAGE], mem, DO_LIVE, e, 0, 0)


@jit
def step(mem: Words, e: int, symbol: int) -> int:
    return _call(mem[LANGUAGE], mem, DO_STEP, e, symbol, 0)


@jit
def partition(mem: Words, e: int) -> int:
    return _call(mem[LANGUAGE], mem, DO_PARTITION, e, 0, 0)


@jit
def clamped(mem: Words, e: int, max_len: int) -> int:
    return _call(mem[LANGUAGE], mem, DO_CLAMP, e, max_len, 0)
