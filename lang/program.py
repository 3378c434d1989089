"""Program: a decorated function, and the ways to run it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, overload

from sestina.lang.batch_run import run_all, run_each
from sestina.lang.branch_record import PROGRAM_ENDED
from sestina.lang.errors import EngineClosed
from sestina.lang.interpreter import Interpreter
from sestina.lang.location import raised_at, render_place
from sestina.lang.params import SamplingParams
from sestina.lang.running import Running, backend_or_default, current_run, derived_seed
from sestina.lang.session import AsyncBackend, Backend, Session, SessionOptions
from sestina.lang.sleepers import Sleepers
from sestina.lang.state import State
from sestina.lang.variable import Failure

BatchItem = Mapping[str, Any] | Sequence[Any]

RUN_OPTIONS = ("backend", "seed", "namespace", "stream")
BATCH_OPTIONS = ("batch", "num_threads", "progress_bar", "generator_style")


class Call(NamedTuple):
    """Arguments of the user's function, checked against its signature."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Settings(NamedTuple):
    """Everything a run needs but the arguments."""

    backend: Backend
    seed: int | None
    namespace: str
    defaults: SamplingParams

    @property
    def options(self) -> SessionOptions:
        return SessionOptions(self.seed, self.namespace, self.defaults)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Program:
    """What `@function` makes of a function whose first parameter is the state.

    `run` and `run_batch` take the function's arguments and sampling parameters side by side, as
    SGLang does: a name that is a parameter of the function is an argument; otherwise a name of
    SamplingParams is a default for every gen of the program (a gen's own value wins).
    `max_new_tokens` is accepted for `max_tokens`.
    """

    fn: Callable[..., Any]
    bound: Mapping[str, Any]
    signature: inspect.Signature

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Program:
        """TypeError, when the function is defined, for a signature that cannot be called."""
        parameters = list(inspect.signature(fn).parameters.values())
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if not parameters or parameters[0].kind not in positional:
            raise TypeError(f"{fn.__qualname__}: the first parameter of a program is its state")
        reserved = {p.name for p in parameters[1:]} & {*RUN_OPTIONS, *BATCH_OPTIONS}
        if reserved:
            raise TypeError(
                f"{fn.__qualname__}: parameter {min(reserved)!r} is an option of run() and "
                "run_batch(); give it another name"
            )
        return cls(fn, {}, inspect.signature(fn).replace(parameters=parameters[1:]))

    @property
    def name(self) -> str:
        return self.fn.__name__

    def __repr__(self) -> str:
        return f"<Program {self.name}{self.signature}>"

    def bind(self, **kwargs: Any) -> Program:
        """This program with some keyword arguments or sampling parameters filled in."""
        return Program(self.fn, {**self.bound, **kwargs}, self.signature)

    def run(
        self,
        *args: Any,
        backend: Backend | None = None,
        seed: int | None = None,
        namespace: str = "",
        stream: bool = False,
        **kwargs: Any,
    ) -> State:
        """Run the body and return its state. Values may still be on their way: reading waits.

        backend: default, the running program's or `set_default_backend`'s. seed: makes the whole
        program reproducible. namespace: prefixes are shared only inside one. stream=True runs the
        body in a thread and returns at once, for `text_iter`. An exception of the body itself ends
        the session and is raised here; with stream=True `state.error()` has it.
        """
        self._refuse_async("run")
        call, settings = self._prepare(args, kwargs, backend, seed, namespace)
        state, run = self._open(settings, stream)
        if stream:
            self._run_in_thread(call, state, run)
        else:
            self._execute(call, state, run)
            if run.exception is not None:
                raise run.exception
        return state

    __call__ = run

    def stream(self, *args: Any, **kwargs: Any) -> State:
        """`run(..., stream=True)`: read it with `state.text_iter()`."""
        return self.run(*args, stream=True, **kwargs)

    async def arun(
        self,
        *args: Any,
        backend: Backend | None = None,
        seed: int | None = None,
        namespace: str = "",
        **kwargs: Any,
    ) -> State:
        """`run` for a running event loop; returns when every value is there.

        A plain function runs in a thread of its own; an `async def` runs in the loop and reads with
        `await s.aget(name)`. Cancelling the task cancels the program. With an AsyncEngine, the
        program waits for its turn first.
        """
        call, settings = self._prepare(args, kwargs, backend, seed, namespace)
        state, run = await self._open_async(settings, False)
        try:
            if inspect.iscoroutinefunction(self.fn):
                await self._execute_async(call, state, run)
            else:
                await _in_thread(functools.partial(self._execute, call, state, run))
            if run.exception is not None:
                raise run.exception
            await state._interpreter.wait_for_end()
        except BaseException:
            state.close()
            raise
        return state

    async def astream(
        self,
        *args: Any,
        backend: Backend | None = None,
        seed: int | None = None,
        namespace: str = "",
        **kwargs: Any,
    ) -> State:
        """`stream` for a running event loop: read it with `async for ... in s.text_async_iter()`.

        Returns once the body has begun, which for an `async def` runs as a task of its own;
        `state.cancel()` ends it.
        """
        call, settings = self._prepare(args, kwargs, backend, seed, namespace)
        state, run = await self._open_async(settings, True)
        if inspect.iscoroutinefunction(self.fn):
            run.task = asyncio.create_task(self._execute_async(call, state, run))
        else:
            self._run_in_thread(call, state, run)
        return state

    @overload
    def run_batch(
        self,
        batch: Sequence[BatchItem],
        *,
        backend: Backend | None = ...,
        seed: int | None = ...,
        namespace: str = ...,
        num_threads: int | Literal["auto"] = ...,
        progress_bar: bool = ...,
        generator_style: Literal[False] = ...,
        **options: Any,
    ) -> list[State]: ...
    @overload
    def run_batch(
        self,
        batch: Sequence[BatchItem],
        *,
        backend: Backend | None = ...,
        seed: int | None = ...,
        namespace: str = ...,
        num_threads: int | Literal["auto"] = ...,
        progress_bar: bool = ...,
        generator_style: Literal[True],
        **options: Any,
    ) -> Iterator[State]: ...
    def run_batch(
        self,
        batch: Sequence[BatchItem],
        *,
        backend: Backend | None = None,
        seed: int | None = None,
        namespace: str = "",
        num_threads: int | Literal["auto"] = "auto",
        progress_bar: bool = False,
        generator_style: bool = False,
        **options: Any,
    ) -> list[State] | Iterator[State]:
        """Run once per item, side by side; finished states in the order of `batch`.

        Items are dicts of arguments, or tuples in the function's order; all are checked before any
        starts. An item that fails harms no other and nothing is raised for it: its
        `state.error()` says why (also for an exception of the body). With `seed`, item i runs with
        `derived_seed(seed, i)`. generator_style yields each state once it and all before it are
        done, and starts at most a few hundred items ahead of the reader.
        """
        self._refuse_async("run_batch")
        params, common = self._split_options({**self.bound, **options})
        settings = Settings(backend_or_default(backend), _own_seed(seed), namespace, params)
        calls = [self._batch_call(i, item, common) for i, item in enumerate(batch)]
        opened = OpenStates()
        jobs = [
            functools.partial(self._run_item, opened, settings, i, call)
            for i, call in enumerate(calls)
        ]
        run_jobs = run_each if generator_style else run_all
        return run_jobs(
            jobs, num_threads=num_threads, progress_bar=progress_bar, stop=opened.cancel
        )

    def _run_item(self, opened: OpenStates, settings: Settings, index: int, call: Call) -> State:
        seed = None if settings.seed is None else derived_seed(settings.seed, index)
        state, run = self._open(settings._replace(seed=seed), stream=False)
        opened.add(state)
        self._execute(call, state, run)
        if run.exception is not None and not isinstance(run.exception, Exception):
            raise run.exception  # Ctrl-C and the like are not one item's failure
        state.sync()
        return state

    def _batch_call(self, index: int, item: BatchItem, common: dict[str, Any]) -> Call:
        try:
            if isinstance(item, Mapping):
                return self._bind((), {**common, **item})
            if isinstance(item, (tuple, list)):
                return self._bind(tuple(item), common)
        except TypeError as error:
            raise TypeError(f"batch item {index}: {error}") from None
        raise TypeError(f"batch item {index}: a dict or a tuple is needed, got {item!r}")

    def _prepare(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        backend: Backend | None,
        seed: int | None,
        namespace: str,
    ) -> tuple[Call, Settings]:
        params, arguments = self._split_options({**self.bound, **kwargs})
        call = self._bind(args, arguments)
        return call, Settings(backend_or_default(backend), _own_seed(seed), namespace, params)

    def _open(self, settings: Settings, stream: bool) -> tuple[State, Running]:
        return self._begin(settings, settings.backend.open(settings.options), stream)

    async def _open_async(self, settings: Settings, stream: bool) -> tuple[State, Running]:
        backend = settings.backend
        if not isinstance(backend, AsyncBackend):
            return self._open(settings, stream)
        return self._begin(settings, await backend.aopen(settings.options), stream)

    def _begin(self, settings: Settings, session: Session, stream: bool) -> tuple[State, Running]:
        seed = settings.seed
        run = Running(self.name, settings.backend, seed=seed, stream=stream, is_background=stream)
        return State(Interpreter(session), run), run

    def _split_options(self, kwargs: dict[str, Any]) -> tuple[SamplingParams, dict[str, Any]]:
        """Sampling parameters and arguments of the function apart."""
        sampling = {f.name for f in fields(SamplingParams)} | {"max_new_tokens"}
        sampling -= set(self.signature.parameters)
        options = {name: value for name, value in kwargs.items() if name in sampling}
        arguments = {name: value for name, value in kwargs.items() if name not in sampling}
        return SamplingParams.of(options), arguments

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            known = [*self.signature.parameters, *(f.name for f in fields(SamplingParams))]
            strange = (name for name in kwargs if name not in known)
            near = [match for name in strange for match in get_close_matches(name, known, 1)]
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{self.name}{self.signature}: {error}{hint}") from None
        return Call(bound.args, bound.kwargs)

    def _refuse_async(self, method: str) -> None:
        if inspect.iscoroutinefunction(self.fn):
            raise TypeError(f"{self.name} is async: use `await program.arun(...)`, not {method}()")

    def _execute(self, call: Call, state: State, run: Running) -> None:
        """Run the body; afterwards the run is finished and `run.exception` tells how."""
        token = current_run.set(run)
        try:
            state.ret_value = self.fn(state, *call.args, **call.kwargs)
        except BaseException as error:
            self._abort(state, run, error)
        else:
            _finish(state, run)
        finally:
            current_run.reset(token)

    async def _execute_async(self, call: Call, state: State, run: Running) -> None:
        token = current_run.set(run)
        try:
            state.ret_value = await self.fn(state, *call.args, **call.kwargs)
        except BaseException as error:
            self._abort(state, run, error)
        else:
            _finish(state, run)
        finally:
            current_run.reset(token)

    def _abort(self, state: State, run: Running, error: BaseException) -> None:
        run.exception = error
        run.is_finished = True
        place = render_place(raised_at(error.__traceback__))
        state._interpreter.abort(Failure(error, f"program {self.name!r}", place))

    def _run_in_thread(self, call: Call, state: State, run: Running) -> None:
        inherited = contextvars.copy_context()
        threading.Thread(
            target=inherited.run,
            args=(self._execute, call, state, run),
            name=f"sestina-{self.name}",
            daemon=True,
        ).start()


class OpenStates:
    """The states a batch has started, so that stopping the batch stops what runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: list[State] = []
        self._is_stopped = False

    def add(self, state: State) -> None:
        with self._lock:
            self._states.append(state)
            is_stopped = self._is_stopped
        if is_stopped:
            state.cancel()

    def cancel(self) -> None:
        with self._lock:
            self._is_stopped = True
            states = list(self._states)
        for state in states:
            state.cancel()


def _own_seed(seed: int | None) -> int | None:
    """The seed given, else one derived from the program that is running around this call."""
    outer = current_run.get()
    return outer.next_subprogram_seed() if seed is None and outer is not None else seed


def _finish(state: State, run: Running) -> None:
    """The body returned: nothing more will come on any of its branches."""
    run.is_finished = True
    try:
        for record in state._interpreter.records():
            state._interpreter.release(record, PROGRAM_ENDED)
    except EngineClosed:
        # Its answers, or their absence, reach whoever reads the values.
        pass
    state._interpreter.notify()


async def _in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a new thread. asyncio.to_thread has a handful of workers, which programs that
    wait for a model would fill."""
    ended = Sleepers()
    is_ended = ended.add()
    inherited = contextvars.copy_context()

    def body() -> None:
        try:
            inherited.run(work)
        finally:
            ended.wake()

    threading.Thread(target=body, name="sestina-arun", daemon=True).start()
    await is_ended
