"""Engine: a model ready to run programs, in this process."""

from __future__ import annotations

import itertools
import os
import secrets
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import torch

from sestina.backend.batch import KVPool
from sestina.backend.completion import Completion, Completions
from sestina.backend.core import Core
from sestina.backend.device import pick_device, pick_dtype
from sestina.backend.loading import LoadedModel, load_model
from sestina.backend.loop import Loop
from sestina.backend.sampling.seeds import derive_seed
from sestina.backend.scheduler.policy import POLICIES, PolicyName
from sestina.backend.scheduler.scheduler import Scheduler, SchedulerOptions
from sestina.backend.session import EngineSession
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.errors import InvalidParams
from sestina.lang.session import SessionOptions

DEFAULT_TOKENS_ON_CPU = 16_384


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counters since the engine started (flush_cache does not reset them), and the books now.

    prefilled: text tokens computed; cached: taken from the KV cache instead; forced: appended
    because a grammar allowed nothing else; sampled: drawn; drafted: proposed by speculation;
    accepted: of these, confirmed by the model (and counted as sampled). forward_passes: batches
    run. seconds: spent in scheduler steps. Slots of the KV pool: free + cached_slots + held ==
    total.
    """

    prefilled: int
    cached: int
    forced: int
    sampled: int
    drafted: int
    accepted: int
    forward_passes: int
    seconds: float
    num_running: int
    num_waiting: int
    num_preempted: int
    num_evicted: int
    free_slots: int
    cached_slots: int
    held_slots: int
    total_slots: int

    @property
    def cache_hit_rate(self) -> float:
        """Of the text tokens that had to be in the KV cache, the share that already was."""
        wanted = self.prefilled + self.cached
        return self.cached / wanted if wanted else 0.0


class Engine:
    """Runs programs on one model; implements `sestina.lang.session.Backend`.

    model: a Hugging Face directory, a hub name, a `.gguf` file, an alias (`sestina models list`),
        "tiny-random" (a seeded toy for tests), or a LoadedModel.
    dtype: "auto" (bfloat16 where the CPU computes in it, else float32), "float32", "bfloat16".
    device: "auto", "cpu" or "cuda".
    max_total_tokens: size of the KV pool in tokens, all programs together.
    max_running / max_batch_tokens: sequences in the batch, and tokens of one forward pass.
    policy: who goes first when more wait than fit: "program" (whoever was served least, then what
        is cached), "prefix" (what is cached) or "fcfs"; nobody waits for ever under any of them.
    threads: torch's CPU threads; process-wide, as torch has it (None leaves it alone).
    seed: root of the seeds of programs that bring none, in the order they start; None: random.
    check: audit the KV books after every step (also SESTINA_DEBUG=1), instead of their totals when
        idle.

    Threads may share an engine. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        model: str | Path | LoadedModel,
        *,
        dtype: str = "auto",
        device: str = "auto",
        max_total_tokens: int | None = None,
        max_running: int = 64,
        max_batch_tokens: int = 512,
        policy: PolicyName = "program",
        threads: int | None = None,
        seed: int | None = None,
        check: bool | None = None,
    ) -> None:
        for name, value in (
            ("max_total_tokens", max_total_tokens),
            ("max_running", max_running),
            ("max_batch_tokens", max_batch_tokens),
            ("threads", threads),
        ):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InvalidParams(f"{name} must be an integer of at least 1, got {value!r}")
        if policy not in POLICIES:
            raise InvalidParams(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
        if threads is not None:
            torch.set_num_threads(threads)
        if not isinstance(model, LoadedModel):
            if not isinstance(model, (str, Path)) or not str(model):
                raise InvalidParams(f"model must be a name, a path or a LoadedModel, got {model!r}")
            chosen = pick_device(device)
            model = load_model(model, dtype=pick_dtype(dtype, chosen), device=chosen)
        self.model = model
        scheduler = Scheduler(
            model.model,
            SchedulerOptions(
                max_total_tokens or _default_tokens(model), max_running, max_batch_tokens, policy
            ),
        )
        self._core = Core(model.tokenizer, scheduler)
        if check is None:
            check = os.environ.get("SESTINA_DEBUG", "") not in ("", "0")
        self._loop = Loop(self._core, check=check)
        self._seed = secrets.randbits(63) if seed is None else seed
        self._num_opened = itertools.count()
        self._opening = threading.Lock()
        self._completions = Completions(self)
        # An engine that nobody closed and nobody can use any more.
        weakref.finalize(self, self._loop.stop).atexit = False

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    # ---- programs

    def open(self, options: SessionOptions) -> EngineSession:
        """Start a program; EngineClosed if the engine is."""
        with self._opening:
            number = next(self._num_opened)
            seed = options.seed
            if seed is None:
                seed = derive_seed(self._seed, "program", number, 0)
            return EngineSession(self, self._core, self._loop, options, seed)

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
        return self._loop.call(self._stats)

    def _stats(self) -> EngineStats:
        scheduler, totals = self._core.scheduler, self._core.totals
        cache = scheduler.cache
        return EngineStats(
            prefilled=totals.prefilled,
            cached=totals.cached,
            forced=totals.forced,
            sampled=totals.sampled,
            drafted=totals.drafted,
            accepted=totals.accepted,
            forward_passes=scheduler.num_steps,
            seconds=scheduler.busy_s,
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.waiting),
            num_preempted=scheduler.num_preempted,
            num_evicted=cache.num_evicted,
            free_slots=cache.pool.num_free,
            cached_slots=cache.tree.num_cached,
            held_slots=sum(s.kv.num_held for s in scheduler.running if s.kv is not None),
            total_slots=cache.pool.num_slots,
        )

    def flush_cache(self) -> int:
        """Drop every cached prefix that nobody is using; returns how many tokens that freed."""

        def flush() -> int:
            tree = self._core.scheduler.cache.tree
            return tree.evict(tree.num_evictable)

        return self._loop.call(flush)

    def close(self) -> None:
        """Cancel what runs, answer everything, free the engine. Idempotent."""
        self._loop.close()
        self._core.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _default_tokens(model: LoadedModel) -> int:
    """On a GPU, half of what is free after the weights; on a CPU a fixed, modest pool."""
    target = model.model
    if target.device.type != "cuda":
        return DEFAULT_TOKENS_ON_CPU
    free_bytes, _ = torch.cuda.mem_get_info(target.device)
    per_slot = KVPool.bytes_per_slot(target.config, target.kv_dtype)
    return max(target.config.max_len, int(free_bytes * 0.5) // per_slot)
