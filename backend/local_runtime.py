"""The model at work in this process: parts wired together, and the thread that runs them."""

from __future__ import annotations

from pathlib import Path

import torch

from sestina.backend.batch import KVPool
from sestina.backend.cache.radix_dump import as_data, as_text
from sestina.backend.core import Core
from sestina.backend.device import pick_device, pick_dtype
from sestina.backend.event_queue import EventSink
from sestina.backend.loading import LoadedModel, load_model
from sestina.backend.loop import Loop
from sestina.backend.measured_model import MeasuredModel
from sestina.backend.options import EngineOptions
from sestina.backend.scheduler.scheduler import Scheduler, SchedulerOptions
from sestina.backend.session import EngineSession
from sestina.backend.stats import EngineStats
from sestina.backend.trace import Trace, Tracer
from sestina.lang.errors import InvalidParams
from sestina.lang.session import Backend, SessionOptions

DEFAULT_TOKENS_ON_CPU = 16_384


class LocalRuntime:
    """A `sestina.backend.runtime.Runtime` whose state lives here, on one thread."""

    def __init__(self, model: str | Path | LoadedModel, options: EngineOptions) -> None:
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self.model = model if isinstance(model, LoadedModel) else _load(model, options)
        self.tracer = Tracer(options.trace) if options.trace else None
        self._measured = MeasuredModel(self.model.model, self.tracer)
        scheduler = Scheduler(
            self._measured,
            SchedulerOptions(
                options.max_total_tokens or _default_tokens(self.model),
                options.max_running,
                options.max_batch_tokens,
                options.policy,
                options.max_guesses,
            ),
        )
        self.core = Core(self.model.tokenizer, scheduler)
        self.loop = Loop(self.core, check=options.checks_every_step, tracer=self.tracer)
        self._max_unread = options.max_unread

    def open(
        self,
        holder: Backend,
        options: SessionOptions,
        seed: int,
        sink: EventSink | None = None,
    ) -> EngineSession:
        """As in `Runtime`; events go to `sink`, which is to acknowledge them, if there is one."""
        return EngineSession(
            holder,
            self.core,
            self.loop,
            options,
            seed,
            max_unread=self._max_unread,
            sink=sink,
        )

    def stats(self) -> EngineStats:
        return self.loop.call(self._stats)

    def _stats(self) -> EngineStats:
        scheduler, totals, measured = self.core.scheduler, self.core.totals, self._measured
        cache = scheduler.cache
        return EngineStats(
            prefilled=totals.prefilled,
            cached=totals.cached,
            healed=totals.healed,
            forced=totals.forced,
            sampled=totals.sampled,
            drafted=totals.drafted,
            accepted=totals.accepted,
            forward_passes=scheduler.num_steps,
            batch_rows=measured.num_rows,
            batch_tokens=measured.num_tokens,
            num_programs=self.loop.num_programs(),
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.waiting),
            num_preempted=scheduler.num_preempted,
            num_evicted=cache.num_evicted,
            seconds=scheduler.busy_s,
            forward_s=measured.forward_s,
            command_s=self.loop.command_s,
            idle_s=self.loop.idle_s,
            free_slots=cache.pool.num_free,
            cached_slots=cache.tree.num_cached,
            held_slots=sum(s.kv.num_held for s in scheduler.running if s.kv is not None),
            total_slots=cache.pool.num_slots,
        )

    def flush_cache(self) -> int:
        def flush() -> int:
            tree = self.core.scheduler.cache.tree
            return tree.evict(tree.num_evictable)

        return self.loop.call(flush)

    def cache_text(self) -> str:
        tree, decode = self.core.scheduler.cache.tree, self.core.tokenizer.decode
        return self.loop.call(lambda: as_text(tree, decode))

    def cache_data(self) -> dict[str, object]:
        tree, decode = self.core.scheduler.cache.tree, self.core.tokenizer.decode
        return self.loop.call(lambda: as_data(tree, decode))

    def trace(self) -> Trace:
        tracer = self.tracer
        return Trace((), 0, 0) if tracer is None else self.loop.call(tracer.snapshot)

    def stop(self) -> None:
        self.loop.stop()

    def close(self) -> None:
        self.loop.close()
        self.core.close()


def _load(model: str | Path, options: EngineOptions) -> LoadedModel:
    if not isinstance(model, (str, Path)) or not str(model):
        raise InvalidParams(f"model must be a name, a path or a LoadedModel, got {model!r}")
    device = pick_device(options.device)
    return load_model(model, dtype=pick_dtype(options.dtype, device), device=device)


def _default_tokens(model: LoadedModel) -> int:
    """On a GPU, half of what is free after the weights; on a CPU a fixed, modest pool."""
    target = model.model
    if target.device.type != "cuda":
        return DEFAULT_TOKENS_ON_CPU
    free_bytes, _ = torch.cuda.mem_get_info(target.device)
    per_slot = KVPool.bytes_per_slot(target.config, target.kv_dtype)
    return max(target.config.max_len, int(free_bytes * 0.5) // per_slot)
