"""AsyncEngine: the engine of one event loop, with a bound on the programs that are open at once."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from sestina.backend.completion import Completion, Completions
from sestina.backend.engine import Engine
from sestina.backend.options import EngineOptions
from sestina.backend.stats import EngineStats
from sestina.backend.trace import Trace
from sestina.lang.errors import EngineClosed, InvalidParams
from sestina.lang.ir import Op
from sestina.lang.running import current_run
from sestina.lang.session import Event, Session, SessionOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sestina.backend.loading import LoadedModel
    from sestina.backend.options import EngineSettings

MAX_OPEN = 1024


class AsyncEngine:
    """An Engine for coroutines: `async with`, and nothing here blocks the event loop.

        async with AsyncEngine("smollm2-135m-instruct", process=True) as engine:
            states = await asyncio.gather(*(program.arun(x, backend=engine) for x in many))

    `async def` programs need no thread, so many thousands may be started at once. `max_open` of
    them run; the others wait for their turn, first come first served, and cost a coroutine each. A
    program that a running one starts takes no turn of its own: they would wait for each other.
    Cancelling a task cancels its program.

    The model is loaded by `async with` (or `await start()`), in a thread. process and the options
    are those of `Engine`.
    """

    def __init__(
        self,
        model: str | Path | LoadedModel,
        *,
        process: bool = False,
        max_open: int = MAX_OPEN,
        **options: Unpack[EngineSettings],
    ) -> None:
        if isinstance(max_open, bool) or not isinstance(max_open, int) or max_open < 1:
            raise InvalidParams(f"max_open must be an integer of at least 1, got {max_open!r}")
        EngineOptions.of(options)  # what is wrong with them is said here, not in `start`
        self._model = model
        self._process = process
        self._options = options
        self._max_open = max_open
        self._engine: Engine | None = None
        self._turns: Turns | None = None
        self._completions = Completions(self)

    async def start(self) -> None:
        """Load the model. Idempotent."""
        if self._engine is None:
            self._engine = await asyncio.to_thread(
                Engine, self._model, process=self._process, **self._options
            )
            self._turns = Turns(self._max_open)

    @property
    def engine(self) -> Engine:
        """The engine behind this front; EngineClosed before `start`."""
        if self._engine is None:
            raise EngineClosed("this engine has not started: use `async with`, or await start()")
        return self._engine

    # ---- programs

    async def aopen(self, options: SessionOptions) -> Session:
        """Start a program as soon as it is its turn; EngineClosed if the engine is."""
        engine, turns = self.engine, self._turns
        if turns is None or self._is_inside():
            return engine.open(options)
        await turns.take()
        try:
            return _Admitted(engine.open(options), turns)
        except BaseException:
            turns.give_back_here()
            raise

    def open(self, options: SessionOptions) -> Session:
        """Only for what a program of this engine starts: everything else has to wait its turn."""
        if not self._is_inside():
            raise InvalidParams("an AsyncEngine runs programs with `await program.arun(...)`")
        return self.engine.open(options)

    def _is_inside(self) -> bool:
        run = current_run.get()
        return run is not None and run.backend is self and not run.is_finished

    @property
    def num_open(self) -> int:
        """Programs that run; never more than `max_open`, not counting those that programs start."""
        return 0 if self._turns is None else self._turns.num_taken

    @property
    def num_queued(self) -> int:
        """Programs that wait for their turn."""
        return 0 if self._turns is None else self._turns.num_waiting

    # ---- one prompt, or a list of them

    @overload
    async def generate(self, prompt: str, **options: Any) -> Completion: ...
    @overload
    async def generate(self, prompt: Sequence[str], **options: Any) -> list[Completion]: ...
    async def generate(
        self, prompt: str | Sequence[str], **options: Any
    ) -> Completion | list[Completion]:
        """`Engine.generate`."""
        return await self._completions.agenerate(prompt, options)

    async def chat(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Completion:
        """`Engine.chat`."""
        return await self._completions.achat(messages, options)

    # ---- the engine itself

    async def stats(self) -> EngineStats:
        """`Engine.stats`."""
        return await asyncio.to_thread(self.engine.stats)

    async def trace(self) -> Trace:
        """`Engine.trace`."""
        return await asyncio.to_thread(self.engine.trace)

    async def cache_text(self) -> str:
        """`Engine.cache_text`."""
        return await asyncio.to_thread(self.engine.cache_text)

    async def cache_data(self) -> dict[str, object]:
        """`Engine.cache_data`."""
        return await asyncio.to_thread(self.engine.cache_data)

    async def flush_cache(self) -> int:
        """`Engine.flush_cache`."""
        return await asyncio.to_thread(self.engine.flush_cache)

    async def close(self) -> None:
        """Cancel what runs, answer everything, free the engine. Idempotent."""
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)

    async def __aenter__(self) -> AsyncEngine:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class Turns:
    """A number of turns, handed out first come first served. Belongs to the running event loop."""

    def __init__(self, num_turns: int) -> None:
        self._num_free = num_turns
        self._num_turns = num_turns
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()

    @property
    def num_taken(self) -> int:
        return self._num_turns - self._num_free

    @property
    def num_waiting(self) -> int:
        return sum(not waiting.done() for waiting in self._waiting)

    async def take(self) -> None:
        """Wait for a turn. On the event loop."""
        if self._num_free and not self._waiting:
            self._num_free -= 1
            return
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except BaseException:
            if waiting.done() and not waiting.cancelled():
                self.give_back_here()  # it came together with the cancellation
            raise

    def give_back(self) -> None:
        """End a turn. From any thread, also from a finalizer: no lock is taken."""
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self.give_back_here)

    def give_back_here(self) -> None:
        """End a turn. On the event loop."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)  # the turn passes on
                return
        self._num_free += 1


class _Admitted:
    """A session whose turn ends when it is closed, or when nobody holds it any more."""

    def __init__(self, session: Session, turns: Turns) -> None:
        self._session = session
        self._end_turn = weakref.finalize(self, turns.give_back)
        self._end_turn.atexit = False

    def submit(self, branch: str, ops: Sequence[Op]) -> None:
        self._session.submit(branch, ops)

    def events(self) -> Iterator[Event]:
        return self._session.events()

    def aevents(self) -> AsyncIterator[Event]:
        return self._session.aevents()

    def cancel(self, branch: str | None = None) -> None:
        self._session.cancel(branch)

    def close(self) -> None:
        self._session.close()
        self._end_turn()  # once
