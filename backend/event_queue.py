"""Events from the engine's thread to whoever reads a session: a thread or an event loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator

from sestina.lang.session import Event
from sestina.lang.sleepers import Sleepers


class EventQueue:
    """A queue with any number of blocking and asynchronous readers; each event goes to one."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._sleepers = Sleepers()
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
        self._sleepers.wake()

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
            with self._changed:
                event = self._events.popleft() if self._events else None
                if event is None and self._closed:
                    return
                sleeper = None if event is not None else self._sleepers.add()
            if event is not None:
                yield event
            elif sleeper is not None:
                await sleeper
