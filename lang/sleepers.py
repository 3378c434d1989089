"""Coroutines that wait for a change which any thread may make."""

from __future__ import annotations

import asyncio
import contextlib


class Sleepers:
    """Futures of possibly several event loops. The owner guards all calls with one lock."""

    def __init__(self) -> None:
        self._futures: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def add(self) -> asyncio.Future[None]:
        """A future of the running loop; await it, without the lock, to sleep until `wake`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._futures.append((loop, future))
        return future

    def wake(self) -> None:
        """Wake everyone. Callable from any thread; sleepers whose loop is gone are forgotten."""
        futures, self._futures = self._futures, []
        for loop, future in futures:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
