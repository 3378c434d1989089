"""Threads that share the work of one compiled function, and need no barrier to do it.

The work is a list of stages, each of so many items; a stage may start when the one before is done.
Ticket n is the n-th item of the whole list. A thread waits until all earlier stages are done, draws
tickets of the present one while there are any, and does what it drew. A thread that comes late, or
is taken off its core, costs no more than the one item that it may have in hand: the others draw the
rest. (A team with a barrier waits for its slowest member after every operation, and with one core
taken away runs 10 to 100 times slower. So did this one while a thread drew its next ticket before
it waited: others then waited for the item of one that was not running.)

Stages, items and their order are the same for any number of threads, and an item is done by one of
them alone, so results do not depend on the number.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from sestina.kernels.numba_jit import jit
from sestina.kernels.simd import builds, element_address

NEXT, DONE = 0, 8
"""Where a team's counters lie, each in a cache line of its own."""

SPINS = 2000
"""Looks at a counter (some 50 us) before a waiting thread offers its core to others."""


class Team:
    """The threads of one model. Only one thread may call `run` at a time."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._others = ThreadPoolExecutor(max(1, num_threads - 1), "sestina-kernel")

    def run(self, function: Callable[..., None], *args: Any) -> None:
        """function(counters, thread, *args) on all threads; returns when the work is done.

        The function releases the GIL, draws its items from `counters`, and on thread 0 returns
        only when all items are done. The others may still be on their way out, or not yet in.
        """
        counters = np.zeros(16, np.int64)
        for thread in range(1, self.num_threads):
            self._others.submit(function, counters, thread, *args)
        function(counters, 0, *args)


_yield_core = types.ExternalFunction("sched_yield", types.int32())


@builds
def _add(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Add to an int64 of an array and return what it was before, at once for all threads."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_address(context, builder, signature, args)
        return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), build


@builds
def _exchange(typing: Any, array: Any, index: Any, old: Any, new: Any) -> Any:
    """Put `new` where `old` is, at once for all threads; whether it was there."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_address(context, builder, signature, args)
        found = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(array, types.intp, types.int64, types.int64), build


@builds
def _read(typing: Any, array: Any, index: Any) -> Any:
    """An int64 as other threads wrote it; what they wrote before is visible after."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_address(context, builder, signature, args)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array, types.intp), build


@builds
def _pause(typing: Any) -> Any:
    """Tell the core that this is a loop that waits."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), build


_clock_gettime: Any = types.ExternalFunction(
    "clock_gettime", types.int32(types.int32, types.voidptr)
)
_MONOTONIC = 1

NOW = 16
"""Where in a thread's clock lie the two words that the system writes; the last look lies behind."""

CLOCK_LEN = NOW + 3


@jit
def book(clock: NDArray[np.int64], place: int) -> None:
    """Add the nanoseconds since the last look to clock[place]; [0] books nothing. 20 ns."""
    if clock.shape[0]:
        _clock_gettime(_MONOTONIC, clock[NOW:].ctypes)
        now = clock[NOW] * 1_000_000_000 + clock[NOW + 1]
        clock[place] += now - clock[NOW + 2]
        clock[NOW + 2] = now


@jit
def draw(counters: NDArray[np.int64], end: int) -> int:
    """The next ticket if it is before `end`, else `end`: none is held by who waits for others."""
    ticket: int = _read(counters, NEXT)
    while ticket < end and not _exchange(counters, NEXT, ticket, ticket + 1):
        ticket = _read(counters, NEXT)
    return min(ticket, end)


@jit
def finish(counters: NDArray[np.int64]) -> None:
    """Say that one more item is done."""
    _add(counters, DONE, 1)


@jit
def wait(counters: NDArray[np.int64], num_done: int) -> None:
    """Until so many items are done in all."""
    looks = 0
    while _read(counters, DONE) < num_done:
        looks += 1
        if looks > SPINS:
            _yield_core()
        else:
            _pause()
