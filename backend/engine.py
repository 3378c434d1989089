"""Engine: a model ready to run programs, in this process or in one of its own."""

from __future__ import annotations

import itertools
import secrets
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from sestina.backend.completion import Completion, Completions
from sestina.backend.options import EngineOptions
from sestina.backend.runtime import Runtime
from sestina.backend.seeds import derive_seed
from sestina.backend.stats import EngineStats
from sestina.backend.trace import Trace
from sestina.lang.errors import InvalidParams
from sestina.lang.session import Session, SessionOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sestina.backend.core import Core
    from sestina.backend.loading import LoadedModel
    from sestina.backend.local_runtime import LocalRuntime
    from sestina.backend.loop import Loop
    from sestina.backend.options import EngineSettings
    from sestina.backend.tokenizer.base import Tokenizer


class Engine:
    """Runs programs on one model; implements `sestina.lang.session.Backend`.

    model: a Hugging Face directory, a hub name, a `.gguf` file, an alias (`sestina models list`),
        "tiny-random" or "scripted" (seeded toys for tests), or a LoadedModel.
    process: run the model in a process of its own, which loads it by its name or path. This process
        then needs no torch, and shares no interpreter lock with the model; results are the same.
    options: those of EngineOptions: `dtype`, `device`, `max_total_tokens`, `max_running`,
        `max_batch_tokens`, `max_unread`, `policy`, `threads`, `seed`, `check`, `trace`.

    Threads may share an engine. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        model: str | Path | LoadedModel,
        *,
        process: bool = False,
        **options: Unpack[EngineSettings],
    ) -> None:
        self._options = EngineOptions.of(options)
        start = _start_worker if process else _start_here
        self._runtime = start(model, self._options)
        seed = self._options.seed
        self._seed = secrets.randbits(63) if seed is None else seed
        self._num_opened = itertools.count()
        self._opening = threading.Lock()
        self._completions = Completions(self)
        # An engine that nobody closed and nobody can use any more.
        weakref.finalize(self, self._runtime.stop).atexit = False

    @property
    def _local(self) -> LocalRuntime:
        return _local(self._runtime)

    @property
    def _core(self) -> Core:
        return self._local.core

    @property
    def _loop(self) -> Loop:
        return self._local.loop

    @property
    def model(self) -> LoadedModel:
        """The model, where it is in this process."""
        return self._local.model

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    # ---- programs

    def open(self, options: SessionOptions) -> Session:
        """Start a program; EngineClosed if the engine is."""
        with self._opening:
            number = next(self._num_opened)
            seed = options.seed
            if seed is None:
                seed = derive_seed(self._seed, "program", number, 0)
            return self._runtime.open(self, options, seed)

    # ---- one prompt, or a list of them

    @overload
    def generate(self, prompt: str, **options: Any) -> Completion: ...
    @overload
    def generate(self, prompt: Sequence[str], **options: Any) -> list[Completion]: ...
    def generate(
        self, prompt: str | Sequence[str], **options: Any
    ) -> Completion | list[Completion]:
        """Continue a text, or several side by side.

        `options` are those of `sestina.gen`: a constraint (`regex=`, `schema=`, `json_schema=`,
        `choices=`, `grammar=`) and the sampling parameters. Control tokens spelled in a prompt are
        ordinary text.
        """
        return self._completions.generate(prompt, options)

    def chat(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Completion:
        """The assistant's next turn after `messages` ([{"role": ..., "content": ...}, ...])."""
        return self._completions.chat(messages, options)

    @overload
    async def agenerate(self, prompt: str, **options: Any) -> Completion: ...
    @overload
    async def agenerate(self, prompt: Sequence[str], **options: Any) -> list[Completion]: ...
    async def agenerate(
        self, prompt: str | Sequence[str], **options: Any
    ) -> Completion | list[Completion]:
        """`generate` without blocking the event loop."""
        return await self._completions.agenerate(prompt, options)

    async def achat(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Completion:
        """`chat` without blocking the event loop."""
        return await self._completions.achat(messages, options)

    # ---- the engine itself

    def stats(self) -> EngineStats:
        """A consistent snapshot, taken between two steps. Ops count once they have finished."""
        return self._runtime.stats()

    def trace(self) -> Trace:
        """What ran when, of late: `engine.trace().save("trace.json")`, to be opened in Perfetto.

        InvalidParams unless the engine was made with `trace=`, the number of spans to keep.
        """
        if not self._options.trace:
            raise InvalidParams("nothing was recorded: make the engine with trace=100_000, say")
        return self._runtime.trace()

    def cache_text(self) -> str:
        """The prefix cache to look at: a line of totals, then one a node, indented by depth.

        Taken between two steps, which wait for it: O(tokens cached).
        """
        return self._runtime.cache_text()

    def cache_data(self) -> dict[str, object]:
        """The same for `json.dumps`: totals, and a flat list of nodes, parents first."""
        return self._runtime.cache_data()

    def flush_cache(self) -> int:
        """Drop every cached prefix that nobody is using; returns how many tokens that freed."""
        return self._runtime.flush_cache()

    def close(self) -> None:
        """Cancel what runs, answer everything, free the engine. Idempotent."""
        self._runtime.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _start_worker(model: str | Path | LoadedModel, options: EngineOptions) -> Runtime:
    # Here, because an engine in this process needs no sockets.
    from sestina.backend.process.client import WorkerRuntime

    return WorkerRuntime(model, options)


def _start_here(model: str | Path | LoadedModel, options: EngineOptions) -> Runtime:
    # Here, because it brings torch: a process that only talks to a worker does without.
    from sestina.backend.local_runtime import LocalRuntime

    return LocalRuntime(model, options)


def _local(runtime: Runtime) -> LocalRuntime:
    from sestina.backend.local_runtime import LocalRuntime

    if not isinstance(runtime, LocalRuntime):
        raise InvalidParams("the model of this engine is in another process: process=True")
    return runtime
