"""Readers of a session are never left waiting, whatever the runtime does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest

from sestina.lang.api import function, gen
from sestina.lang.errors import EngineClosed, InternalError, ProgramError
from sestina.lang.ir import Op
from sestina.lang.session import Chunk, Done, Event, SessionOptions
from sestina.lang.state import State

Take = Callable[[], "Event | None"]


class OddBackend:
    """A runtime that answers every request for an event by `take`, and is closed at None."""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.num_closed = 0

    def open(self, options: SessionOptions) -> OddBackend:
        return self

    def submit(self, branch: str, ops: Sequence[Op]) -> None:
        pass

    def events(self) -> Iterator[Event]:
        while (event := self.take()) is not None:
            yield event

    async def aevents(self) -> AsyncIterator[Event]:
        while (event := self.take()) is not None:
            yield event

    def cancel(self, branch: str | None = None) -> None:
        pass

    def close(self) -> None:
        self.num_closed += 1


def raising(error: BaseException) -> Take:
    def take() -> Event | None:
        raise error

    return take


ODD: dict[str, tuple[Take, type[Exception]]] = {
    "ends early": (lambda: None, EngineClosed),
    "raises": (raising(ConnectionError("lost")), ConnectionError),
    "unknown branch": (lambda: Chunk("0.9", 0, None, "a"), InternalError),
    "unknown op": (lambda: Done("0", 9, None, None), InternalError),
    "no event at all": (lambda: "hello", InternalError),  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize("name", ODD)
def test_a_runtime_that_breaks_the_protocol_fails_what_is_pending(name: str) -> None:
    take, cause = ODD[name]
    backend = OddBackend(take)
    state = function(lambda s: s.append(gen("x"))).run(backend=backend)
    state.sync()
    error = state.error()
    assert isinstance(error, ProgramError)
    assert isinstance(error.cause, cause)
    with pytest.raises(ProgramError, match="gen 'x' failed"):
        state["x"]
    with pytest.raises(ProgramError):
        list(state.text_iter())
    assert backend.num_closed


@pytest.mark.parametrize("name", ODD)
def test_so_it_does_for_readers_in_an_event_loop(name: str) -> None:
    take, cause = ODD[name]
    state = function(lambda s: s.append(gen("x"))).run(backend=OddBackend(take))

    async def main() -> list[Any]:
        return await asyncio.gather(state.aget("x"), state.atext(), return_exceptions=True)

    errors = asyncio.run(main())
    assert [type(e.cause) for e in errors] == [cause, cause]


def test_an_interrupted_reader_loses_nothing_and_frees_the_others() -> None:
    interruptions = iter([KeyboardInterrupt()])

    def take() -> Event | None:
        for interruption in interruptions:
            raise interruption
        return Done("0", 0, "x", "value")

    state: State = function(lambda s: s.append(gen("x"))).run(backend=OddBackend(take))
    with pytest.raises(KeyboardInterrupt):
        state["x"]
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(state["x"]))
    thread.start()
    thread.join(30)
    assert found == ["value"]
