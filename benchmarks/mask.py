r"""MaskBench's method on our grammar engine and others, side by side.

    python benchmarks/mask.py DATA.jsonl[.gz] --tokenizer smollm2-135m-instruct --tokenizer DIR \
        --peer llguidance=PEERS/bin/python --peer outlines-core=PEERS/bin/python \
        --peer 'xgrammar:{"strict_mode": false}=PEERS/bin/python' --sample 300 --json OUT.json

DATA has one schema a line: {"name", "schema", "tests": [{"valid", "data"}]}, as MaskBench
(JSONSchemaBench, guidance-ai) collects them. Each schema is compiled; each instance, written as
json.dumps(ensure_ascii=False) does, is tokenised (by our exact tokenizer, for all engines) and
walked token by token in one thread, a mask computed before each token and after the last one. An
instance is accepted if the masks allow all tokens and then the end of the text.

Counted per schema: refused (it does not compile, or not within the limit), invalid accepted (at
least one), valid rejected (at least one), failed (an error while walking), else passed. Compiling
is all there is from the schema to a compiled grammar; "compile + first mask" is what a request
waits for. Mask and accept times are of the engine's own calls from Python, all writing one int32
row that is used again. A schema that came before in the run is counted, but not timed. With
--clock cpu, times are what the process used of a CPU: other work on the machine does not count,
but asking costs some 0.2 us.

Every engine is a process of its own that runs benchmarks/mask_*.py with its environment's Python.
They take turns in chunks of schemas, one working at a time, so that noise hits all alike; each
keeps what it caches across schemas. The peers' environment, which may be one or several:

    python -m venv PEERS
    PEERS/bin/pip install numpy llguidance==1.9.1 xgrammar==0.2.8 outlines-core==0.2.14 \
        transformers tokenizers

A peer is NAME=PYTHON or NAME:OPTIONS=PYTHON, OPTIONS being a JSON object for its own JSON Schema
compiler. The garbage collector is left as Python has it, unless --freeze is given for ours.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from engine_process import EngineSpec
from mask_process import MaskProcess, parse_spec
from mask_table import Outcome, failures, refusals, summary, tables
from mask_tokenizer import Exported, export

DEFAULT_TOKENIZER = "smollm2-135m-instruct"


def read(path: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def tokenised(entry: dict[str, Any], exported: Exported) -> tuple[list[dict[str, Any]], list[str]]:
    """The instances as ids, and why others cannot be written in this vocabulary."""
    tests, unwritable = [], []
    for test in entry["tests"]:
        text = json.dumps(test["data"], ensure_ascii=False)
        try:
            tests.append({"valid": test["valid"], "ids": exported.tokenizer.encode(text)})
        except ValueError as error:
            unwritable.append(f"{entry['name']}: {error}")
    return tests, unwritable


def run(
    schemas: list[dict[str, Any]],
    exported: Exported,
    engines: list[MaskProcess],
    chunk: int,
) -> dict[str, list[Outcome]]:
    """Each engine's outcomes by its label, in the order of the schemas."""
    rows: dict[str, list[Outcome]] = {engine.spec.label: [] for engine in engines}
    seen: set[str] = set()
    started = time.monotonic()
    for at in range(0, len(schemas), chunk):
        asked = []
        for entry in schemas[at : at + chunk]:
            tests, unwritable = tokenised(entry, exported)
            for line in unwritable:
                print(f"an instance is left out, {line}", file=sys.stderr)
            spelled = json.dumps(entry["schema"])
            asked.append((entry, tests, spelled in seen))
            seen.add(spelled)
        turn = at // chunk % len(engines)
        for engine in engines[turn:] + engines[:turn]:
            for entry, tests, is_copy in asked:
                answer = engine.ask(entry["schema"], tests)
                rows[engine.spec.label].append(Outcome.of(entry["name"], is_copy, answer))
        done = min(at + chunk, len(schemas))
        print(f"{done}/{len(schemas)} schemas, {time.monotonic() - started:.0f} s", file=sys.stderr)
    return rows


def report(
    exported: Exported, engines: Iterable[MaskProcess], rows: dict[str, list[Outcome]], show: int
) -> None:
    print(f"\n## {exported.name}: {exported.tokenizer.vocab_size:,} tokens\n")
    print(tables(rows))
    print()
    for engine in engines:
        label = engine.spec.label
        starts = f"; started {engine.num_starts} times" if engine.num_starts > 1 else ""
        print(f"- {label}: {engine.spec.name} {engine.version}, {engine.settings}{starts}")
        if engine.spec.name == "ours":
            print(f"  - refused by keyword: {refusals(rows[label])}")
        for line in failures(rows[label], show):
            print(f"  - {line}")


def our_specs(args: argparse.Namespace) -> list[EngineSpec]:
    options: dict[str, Any] = {key: True for key in ("cold", "freeze") if getattr(args, key)}
    specs = []
    if args.property_order in ("declared", "both"):
        specs.append(EngineSpec("ours", options, sys.executable))
    if args.property_order in ("any", "both"):
        specs.append(EngineSpec("ours", {"property_order": "any", **options}, sys.executable))
    return specs


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", type=Path)
    add("--tokenizer", action="append", help=f"may be repeated (default {DEFAULT_TOKENIZER})")
    add("--peer", action="append", default=[], type=parse_spec, metavar="NAME=PYTHON")
    add("--sample", type=int, help="only so many schemas")
    add("--seed", type=int, default=0, help="of the sample")
    add("--chunk", type=int, default=20, help="schemas an engine does in its turn")
    add("--limit", type=float, default=60, help="seconds to compile a schema, and to walk it")
    add("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a busy machine")
    add("--property-order", choices=["declared", "any", "both"], default="declared")
    add("--cold", action="store_true", help="ours: a fresh compiler for each schema")
    add("--freeze", action="store_true", help="ours: gc.freeze() once everything is loaded")
    add("--show", type=int, default=0, help="name so many schemas of each failure")
    add("--json", type=Path, metavar="OUT", help="also write every schema's outcome")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    schemas = list(read(args.data))
    if args.sample and args.sample < len(schemas):
        schemas = random.Random(args.seed).sample(schemas, args.sample)
    print(f"{len(schemas)} schemas of {args.data.name}, sample {args.sample}, seed {args.seed}")
    machine = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    print(f"{machine}; times by the {args.clock} clock")
    written = []
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(args.tokenizer or [DEFAULT_TOKENIZER]):
            exported = export(name, Path(folder, str(number)))
            with ExitStack() as started:
                engines = [
                    started.enter_context(
                        closing(MaskProcess(spec, exported.file, args.limit, args.clock))
                    )
                    for spec in our_specs(args) + args.peer
                ]
                rows = run(schemas, exported, engines, args.chunk)
            report(exported, engines, rows, args.show)
            written += [
                {
                    "tokenizer": name,
                    "engine": engine.spec.label,
                    "version": engine.version,
                    "settings": engine.settings,
                    "starts": engine.num_starts,
                    "summary": summary(rows[engine.spec.label]),
                    "schemas": [outcome.to_data() for outcome in rows[engine.spec.label]],
                }
                for engine in engines
            ]
    if args.json:
        args.json.write_text(json.dumps(written, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
