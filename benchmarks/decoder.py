"""Where the microseconds of a forward pass go, stage by stage, on the CPU.

    python benchmarks/decoder.py --dtype int8
    python benchmarks/decoder.py --dtype bfloat16,int8 --shape 1x1x200,64x1x160,1x512x512

A shape ROWSxNEWxCONTEXT[+SHARED]: so many sequences, each of CONTEXT tokens of which the last NEW
are new, behind SHARED tokens more that all have in common; the last token of each row gets logits.
A column is the time of one stage (all layers'), averaged over threads, in microseconds a pass, in
the fastest of `--runs` passes; `waiting` is for the other threads between stages, `outside` what
the call takes before and after. With `--busy N` as many other processes compute without end, and
the pass shown is the median one: what a machine that is not one's own costs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from sestina.backend.batch import Batch, KVPool, Model
from sestina.backend.device import ON_CPU
from sestina.backend.loading import load_model
from sestina.backend.models.packed_llama import PackedLlama
from sestina.kernels.decoder import STAGES


@dataclass(frozen=True)
class Pass:
    rows: int
    new: int
    context: int
    shared: int

    @classmethod
    def parse(cls, text: str) -> Pass:
        sizes, _, shared = text.partition("+")
        rows, new, context = (int(number) for number in sizes.split("x"))
        return cls(rows, new, max(new, context), int(shared or 0))

    @property
    def num_slots(self) -> int:
        return self.shared + self.rows * self.context

    def __str__(self) -> str:
        behind = f" + {self.shared}" if self.shared else ""
        return f"{self.rows} x {self.new} at {self.context}{behind}"

    def batch(self, model: Model, generator: torch.Generator) -> Batch:
        """Random tokens; each sequence's slots lie side by side."""
        rows, new, total = self.rows, self.new, self.shared + self.context
        own = torch.arange(self.shared, self.num_slots).view(rows, self.context)
        slots = torch.cat([torch.arange(self.shared).expand(rows, -1), own], dim=1)
        places = torch.arange(total - new, total)
        return Batch(
            token_ids=torch.randint(model.config.vocab_size, (rows * new,), generator=generator),
            positions=places.repeat(rows),
            slots=slots[:, total - new :].reshape(-1),
            query_start=torch.arange(rows + 1, dtype=torch.int32) * new,
            seq_lens=torch.full((rows,), total, dtype=torch.int32),
            table_rows=torch.arange(rows, dtype=torch.int32),
            page_table=slots.to(torch.int32),
            logit_rows=torch.arange(1, rows + 1) * new - 1,
        )


@contextmanager
def others(number: int) -> Iterator[None]:
    """So many processes that each want a core of their own."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measure(
    model: PackedLlama, shape: Pass, runs: int, which: float
) -> tuple[float, dict[str, float]]:
    """Microseconds of a pass, and of its stages; which: 0 for the fastest, 0.5 for the median."""
    batch = shape.batch(model, torch.Generator().manual_seed(0))
    kv = KVPool.empty(model.config, shape.num_slots, model.kv_dtype, model.device)
    whole, stages = [], []
    for _ in range(runs + 1):
        with model.decoder.timed() as clocks:
            started = time.perf_counter()
            model.forward(batch, kv)
            whole.append((time.perf_counter() - started) * 1e6)
        stages.append(clocks.mean(axis=0) / 1e3)
    at = int(np.argsort(whole[1:])[int(which * (runs - 1))]) + 1
    return whole[at], dict(zip(STAGES, stages[at].tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="smollm2-135m-instruct")
    add("--dtype", default="bfloat16,int8")
    add("--shape", default="1x1x200,32x1x800,64x1x160,1x64x64,1x512x512,4x128x700")
    add("--runs", type=int, default=9)
    add("--threads", type=int, default=torch.get_num_threads())
    add("--busy", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    names = STAGES
    print(f"| dtype | pass | us | {' | '.join(names)} | outside |\n|{'---|' * (len(names) + 4)}")
    for dtype in arguments.dtype.split(","):
        loaded = load_model(arguments.model, dtype=ON_CPU[dtype], device=torch.device("cpu"))
        model = loaded.model
        if not isinstance(model, PackedLlama):
            raise SystemExit(f"{arguments.model} does not run on the compiled decoder")
        for shape in map(Pass.parse, arguments.shape.split(",")):
            with others(arguments.busy):
                which = 0.5 if arguments.busy else 0.0
                whole, stages = measure(model, shape, arguments.runs, which)
            cells = [f"{stages[name]:,.0f}" for name in names]
            outside = whole - sum(stages.values())
            print(f"| {dtype} | {shape} | {whole:,.0f} | {' | '.join(cells)} | {outside:,.0f} |")


if __name__ == "__main__":
    main()
