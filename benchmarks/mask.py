"""MaskBench's method on our grammar engine: python benchmarks/mask.py DATA.jsonl[.gz] [tokenizer]

DATA has one schema a line: {"name", "schema", "tests": [{"valid", "data"}]}, as MaskBench
(JSONSchemaBench, guidance-ai) collects them. Each schema is compiled; each instance, written as
json.dumps(ensure_ascii=False) does, is tokenised and walked token by token, with a mask computed
before each token, in one thread.

Counted per schema: refused (it does not compile), valid rejected, invalid accepted, else passed.
Mask times are over all masks computed, compile times over all schemas that compile.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sestina import json_schema
from sestina.backend.grammar import GrammarCompiler
from sestina.backend.tokenizer import load_tokenizer
from sestina.lang.errors import ConstraintError


def read(path: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def walk(
    compiler: GrammarCompiler,
    grammar: Any,
    text: str,
    mask_us: list[float],
    accept_us: list[float],
) -> bool:
    """Whether the grammar takes the whole text; masks and accepts are timed and must agree."""
    tokenizer = compiler.tokenizer
    matcher = grammar.matcher()
    row = np.empty(-(-tokenizer.vocab_size // 32), np.int32)
    for token_id in tokenizer.encode(text):
        started = time.perf_counter_ns()
        matcher.fill_mask(row)
        mask_us.append((time.perf_counter_ns() - started) / 1000)
        allowed = bool(row[token_id // 32] >> (token_id % 32) & 1)
        started = time.perf_counter_ns()
        accepted = matcher.accept_token(token_id)
        accept_us.append((time.perf_counter_ns() - started) / 1000)
        if allowed != accepted:
            raise AssertionError(f"mask and matcher disagree about token {token_id}")
        if not allowed:
            return False
    started = time.perf_counter_ns()
    matcher.fill_mask(row)
    mask_us.append((time.perf_counter_ns() - started) / 1000)
    return matcher.is_accepting()


def percentiles(values: list[float], points: list[float]) -> str:
    if not values:
        return "-"
    found = [f"avg {np.mean(values):.1f}"]
    found += [f"p{p:g} {v:.1f}" for p, v in zip(points, np.percentile(values, points), strict=True)]
    return " / ".join([*found, f"max {max(values):.1f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("tokenizer", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--sample", type=int, help="only so many schemas, drawn with a fixed seed")
    parser.add_argument("--show", type=int, default=0, help="print so many names of each failure")
    args = parser.parse_args()
    tokenizer = load_tokenizer(args.tokenizer)
    compiler = GrammarCompiler(tokenizer, max_grammars=1)
    schemas = list(read(args.data))
    if args.sample:
        schemas = random.Random(0).sample(schemas, args.sample)
    # Kernels compile before anything is timed; another compiler, so that nothing else is warm.
    warm = GrammarCompiler(tokenizer)
    anything = {"properties": {"a": {"type": "string", "pattern": "^[a-z]{2,50}$"}}}
    walk(warm, warm.compile(json_schema(anything)), '{"a": "xyz", "b": [1, "\\n"]}', [], [])
    # The data and the libraries are no part of the engine: the garbage collector leaves them out.
    gc.collect()
    gc.freeze()
    outcome: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    compile_ms: list[float] = []
    mask_us: list[float] = []
    accept_us: list[float] = []
    for entry in schemas:
        started = time.perf_counter()
        try:
            grammar = compiler.compile(json_schema(entry["schema"]))
        except ConstraintError as error:
            outcome["refused"] += 1
            refusals[error.keyword or type(error).__name__] += 1
            continue
        compile_ms.append(1000 * (time.perf_counter() - started))
        verdict = "passed"
        for test in entry["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False)
            try:
                accepted = walk(compiler, grammar, text, mask_us, accept_us)
            except (ConstraintError, ValueError) as error:
                verdict = f"error {type(error).__name__}"
                break
            if accepted and not test["valid"]:
                verdict = "invalid accepted"
                break
            if test["valid"] and not accepted:
                verdict = "valid rejected"
        outcome[verdict] += 1
        if verdict != "passed" and shown[verdict] < args.show:
            shown[verdict] += 1
            print(f"  {verdict}: {entry['name']}")
    print(f"{len(schemas)} schemas, vocabulary {tokenizer.vocab_size}")
    for name, count in outcome.most_common():
        print(f"  {name:20} {count:6}")
    print(f"  refused by keyword: {', '.join(f'{k} {n}' for k, n in refusals.most_common(20))}")
    print(f"compile ms  {percentiles(compile_ms, [50, 90, 99])}")
    print(f"mask us     {percentiles(mask_us, [50, 90, 99, 99.9])}  ({len(mask_us)} masks)")
    print(f"accept us   {percentiles(accept_us, [50, 90, 99, 99.9])}")


if __name__ == "__main__":
    main()
