"""What a decode step costs outside the model: python benchmarks/scheduler.py [--parts]

Programs of one gen each, on a model whose forward pass is free (a view of prepared logits; what it
takes all the same is subtracted). The scheduler is driven from this thread, without the engine's
loop, so nothing waits for anything. A step counts while every branch is decoding; the figure is the
median of those steps, in CPU time of this thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from engine import SCHEMA
from torch import Tensor

import sestina
from sestina.backend.batch import Batch, KVPool, ModelConfig
from sestina.backend.core import Core
from sestina.backend.event_queue import EventQueue
from sestina.backend.models.scripted import ScriptedModel
from sestina.backend.program import Program
from sestina.backend.scheduler import scheduler as scheduler_module
from sestina.backend.scheduler.scheduler import Scheduler, SchedulerOptions
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.lang.ir import Gen, Text
from sestina.lang.params import SamplingParams
from sestina.lang.session import ROOT, SessionOptions

NUM_MERGES = 60
WARM_UP = 4  # steps: prefill, and what is set up at the first token
PARTS = ("_plan", "_compute", "_commit")
FUNCTIONS = ("build_batch", "deliver")

WORKLOADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sampled": {"temperature": 0.8, "top_p": 0.9, "seed": 1},
    "stop string": {"stop": ("\x00\x01\x02\x03",)},
    "streamed": {"stream": True},
    "JSON schema": {"constraint": sestina.json_schema(SCHEMA)},
}


class FreeModel:
    """A model of the scripted one's shape. Logits are random, other ones each step; the first
    ids of the vocabulary, which begin the stop string and end texts, are unlikely."""

    def __init__(self, vocab_size: int, num_rows: int) -> None:
        scripted = ScriptedModel(vocab_size=vocab_size)
        self.config: ModelConfig = scripted.config
        self.dtype = self.kv_dtype = torch.float32
        self.device = torch.device("cpu")
        generator = torch.Generator().manual_seed(0)
        self._logits = torch.randn((num_rows + 512, vocab_size), generator=generator) * 3
        self._logits[:, 0] = -30
        self._step = 0
        self.seconds = 0.0

    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        started = time.thread_time()
        self._step = (self._step * 7 + 1) % 512
        logits = self._logits[self._step :][: len(batch.logit_rows)]
        self.seconds += time.thread_time() - started
        return logits


class Clock:
    """Seconds of CPU spent in each named part, without the parts that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = 0.0

    def wrap(self, owner: object, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            started = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                spent = time.thread_time() - started
                self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inner
                self._inner = outer + spent

        setattr(owner, name, timed)


def start(
    num_branches: int, num_steps: int, stream: bool = False, constraint: Any = None, **options: Any
) -> tuple[Core, FreeModel]:
    """An engine without its thread, all branches submitted."""
    tokenizer = ByteTokenizer(NUM_MERGES)
    model = FreeModel(tokenizer.vocab_size, num_branches)
    max_tokens = num_steps + 512  # no branch ends for want of them, and the schema has room
    sizes = SchedulerOptions(num_branches * (max_tokens + 16), num_branches)
    core = Core(tokenizer, Scheduler(model, sizes))
    params = SamplingParams.of(
        {"max_tokens": max_tokens, "ignore_eos": True, "temperature": 0.0, **options}
    )
    gen = Gen("x", params, constraint, stream=stream)
    for i in range(num_branches):
        session = SessionOptions(seed=i)
        program = Program(core, session, i, EventQueue(), lambda command: command(), 1 << 30)
        prepared = core.prepare(gen, session.defaults)
        if prepared is not None:
            prepared.result()
        program.submit(ROOT, [(Text((f"{i}: ",)), None), (gen, prepared)])
    return core, model


def measure(num_branches: int, num_steps: int, clock: Clock | None, **workload: Any) -> list[float]:
    """Seconds of each step during which all branches decode, outside the model; [] if none."""
    core, model = start(num_branches, num_steps, **workload)
    scheduler = core.scheduler
    while scheduler.waiting or any(s.num_computed < 8 for s in scheduler.running):
        scheduler.step()
    for _ in range(WARM_UP):
        scheduler.step()
    if clock is not None:
        for name in PARTS:
            clock.wrap(scheduler, name)
        clock.wrap(model, "forward")
    seconds = []
    while len(seconds) < num_steps:
        started, inside = time.thread_time(), model.seconds
        scheduler.step()
        spent = time.thread_time() - started - (model.seconds - inside)
        if len(scheduler.running) < num_branches:
            break  # the first branch has ended
        seconds.append(spent)
    core.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--branches", type=int, nargs="*", default=[1, 64, 256, 1000])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workload", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--parts", action="store_true", help="where the time goes (slows it down)")
    args = parser.parse_args()
    print(f"{'workload':12} {'branches':>8} {'us per step':>12} {'us per branch':>14} {'steps':>6}")
    for name in args.workload:
        for num_branches in args.branches:
            clock = Clock() if args.parts else None
            saved = {f: getattr(scheduler_module, f) for f in FUNCTIONS}
            for function in saved if clock is not None else ():
                clock.wrap(scheduler_module, function)
            seconds = measure(num_branches, args.steps, clock, **WORKLOADS[name])
            for function, original in saved.items():
                setattr(scheduler_module, function, original)
            us = 1e6 * statistics.median(seconds)
            print(
                f"{name:12} {num_branches:8} {us:12.0f} {us / num_branches:14.2f} {len(seconds):6}"
            )
            for part, spent in clock.seconds.items() if clock is not None else ():
                print(f"    {part.lstrip('_'):20} {1e6 * spent / len(seconds):10.0f}")


if __name__ == "__main__":
    main()
