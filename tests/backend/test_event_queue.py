"""Events reach blocking and asynchronous readers, and readers end when the queue does."""

from __future__ import annotations

import asyncio
import threading

from sestina.backend.event_queue import EventQueue
from sestina.lang.session import Done, Event


def done(op: int) -> Done:
    return Done("0", op, None, None)


def test_a_blocking_reader_gets_everything_in_order_and_ends() -> None:
    queue = EventQueue()
    got: list[Event] = []
    reader = threading.Thread(target=lambda: got.extend(queue))
    reader.start()
    for i in range(100):
        queue.put(done(i))
    queue.close()
    reader.join()
    assert got == [done(i) for i in range(100)]


def test_events_after_close_are_dropped() -> None:
    queue = EventQueue()
    queue.close()
    queue.put(done(0))
    assert list(queue) == []


def test_an_asynchronous_reader_is_woken_from_another_thread() -> None:
    queue = EventQueue()

    def feed() -> None:
        for i in range(100):
            queue.put(done(i))
        queue.close()

    async def main() -> list[Event]:
        feeder = threading.Thread(target=feed)
        feeder.start()
        got = [event async for event in queue]
        feeder.join()
        return got

    assert asyncio.run(main()) == [done(i) for i in range(100)]


def test_each_event_goes_to_one_reader() -> None:
    queue = EventQueue()
    got: list[list[Event]] = [[], [], []]
    readers = [threading.Thread(target=lambda into=into: into.extend(queue)) for into in got]
    for reader in readers:
        reader.start()
    for i in range(300):
        queue.put(done(i))
    queue.close()
    for reader in readers:
        reader.join()
    together = sorted(event.op for part in got for event in part if isinstance(event, Done))
    assert together == list(range(300))
