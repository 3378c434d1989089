"""Thousands of programs on one event loop: python benchmarks/concurrent_programs.py [count]

Each program generates twice, the second time after waiting for the first value, on the scripted
model of the tests, which costs next to nothing. Prints seconds, resident memory and threads, with
the engine in this process and in its own, all programs open at once and with a bound.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

from sestina import AsyncEngine, State, function, gen

TOKENS = 8


@function
async def two_turns(s: State, number: int) -> int:
    s += f"Program {number} says: " + gen("x", max_tokens=TOKENS, ignore_eos=True)
    first = await s.aget("x")
    s += " and then: " + gen("y", max_tokens=TOKENS, ignore_eos=True)
    return len(first + await s.aget("y"))


def resident_mb() -> float:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def measure(count: int, max_open: int, process: bool) -> None:
    async with AsyncEngine(
        "scripted", process=process, max_open=max_open, max_total_tokens=65_536, seed=0
    ) as engine:
        await two_turns.arun(-1, backend=engine)  # what is imported or compiled at first use
        gc.collect()
        before = resident_mb()
        started, cpu = time.perf_counter(), time.process_time()
        tasks = [asyncio.create_task(two_turns.arun(i, backend=engine)) for i in range(count)]
        most_mb, most_open, most_threads, slowest_s = before, 0, 0, 0.0
        while not all(task.done() for task in tasks):
            asleep = time.perf_counter()
            await asyncio.sleep(0.05)
            slowest_s = max(slowest_s, time.perf_counter() - asleep - 0.05)
            most_mb = max(most_mb, resident_mb())
            most_open = max(most_open, engine.num_open)
            most_threads = max(most_threads, threading.active_count())
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        stats = await engine.stats()
        assert all(task.result().ret_value for task in tasks)
    tokens = 2 * TOKENS * count
    where = "its own process" if process else "this process"
    print(
        f"{count:6} programs, at most {max_open:6} open, model in {where:15}: "
        f"{seconds:6.2f} s ({1e6 * seconds / tokens:4.0f} us a token, "
        f"{stats.forward_s:5.2f} s in the model), this process {cpu:5.2f} s of CPU, "
        f"+{(most_mb - before) * 1e3 / count:4.0f} kB a program, at most {most_open} open, "
        f"{most_threads} threads, loop held up {1e3 * slowest_s:3.0f} ms at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=2000)
    parser.add_argument("--max-open", type=int)
    parser.add_argument("--process", action="store_true")
    args = parser.parse_args()
    if args.max_open:
        asyncio.run(measure(args.count, args.max_open, args.process))
        return
    # Each in a fresh interpreter: memory that one has freed would hide what the next one takes.
    for max_open in (args.count, max(1, args.count // 20)):
        for options in ([], ["--process"]):
            given = [str(args.count), "--max-open", str(max_open), *options]
            subprocess.run([sys.executable, __file__, *given], check=True)


if __name__ == "__main__":
    main()
