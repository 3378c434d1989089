"""Events from the engine's thread to whoever reads a session: a thread or an event loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

from sestina.lang.session import Event
from sestina.lang.sleepers import Sleepers


class EventSink(Protocol):
    """Where a program's events go; called on the engine's thread."""

    def put(self, event: Event) -> None:
        """Add an event; never waits."""

    def close(self) -> None:
        """No more events will come. Idempotent."""


class EventQueue:
    """A queue with any number of blocking and asynchronous readers; each event goes to one.

    `on_read(n)` is called, by a reader and without the lock, after every n = `report_every` events
    read; None: never.
    """

    def __init__(self, report_every: int | None = None) -> None:
        self._report_every = report_every
        self.on_read: Callable[[int], None] = _ignore
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._sleepers = Sleepers()
        self._closed = False
        self._num_read = 0

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

    def _take(self) -> Event | None:
        """The next event, with the lock held; None if there is none."""
        if not self._events:
            return None
        self._num_read += 1
        return self._events.popleft()

    def _report(self) -> None:
        with self._changed:
            if self._report_every is None or self._num_read < self._report_every:
                return
            num_read, self._num_read = self._num_read, 0
        self.on_read(num_read)

    def __iter__(self) -> Iterator[Event]:
        while True:
            with self._changed:
                while (event := self._take()) is None and not self._closed:
                    self._changed.wait()
            if event is None:
                return
            self._report()
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            with self._changed:
                event = self._take()
                if event is None and self._closed:
                    return
                sleeper = None if event is not None else self._sleepers.add()
            if event is not None:
                self._report()
                yield event
            elif sleeper is not None:
                await sleeper


def _ignore(num_read: int) -> None:
    return
