"""Events from the engine's thread to whoever reads a session: a thread or an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator

from sestina.lang.session import Event


class EventQueue:
    """A queue with any number of blocking and asynchronous readers; each event goes to one."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._closed = False

    def put(self, event: Event) -> None:
        """Add an event; ignored after `close`."""
        with self._changed:
            if not self._closed:
                self._events.append(event)
            self._wake()

    def close(self) -> None:
        """No more events: readers end once they have read what is there. Idempotent."""
        with self._changed:
            self._closed = True
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        for loop, sleeper in self._sleepers:
            # A loop that has been closed meanwhile has no reader left to wake.
            if not loop.is_closed():
                loop.call_soon_threadsafe(sleeper.set)
        self._sleepers.clear()

    def __iter__(self) -> Iterator[Event]:
        while True:
            with self._changed:
                while not self._events and not self._closed:
                    self._changed.wait()
                if not self._events:
                    return
                event = self._events.popleft()
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            sleeper = asyncio.Event()
            with self._changed:
                event = self._events.popleft() if self._events else None
                if event is None:
                    if self._closed:
                        return
                    self._sleepers.append((asyncio.get_running_loop(), sleeper))
            if event is None:
                await sleeper.wait()
            else:
                yield event
