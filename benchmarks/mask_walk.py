"""The engine's side of mask.py: one process that compiles schemas and walks their instances.

Runs in each engine's own environment, so it needs the standard library and numpy alone. An engine's
script (mask_ours.py, mask_llguidance.py, ...) makes an `Engine` and calls `serve`. What goes in and
out is JSON, a line each:

    in    {"schema", "tests": [{"valid", "ids"}]}
    out   {"compile_ns"}, then {"verdict", "mask_ns", "accept_ns", ...}   one line after the other
          {"verdict": "refused", "why", "keyword"}                          it does not compile
"""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Vocabulary:
    """What mask.py wrote about a tokenizer.

    source: how `load_tokenizer` finds it. tokens: the bytes of each id, b"" for control tokens and
    unused ids. tokenizer_file: the same vocabulary as a Hugging Face tokenizer.json.
    """

    source: str
    tokens: list[bytes]
    eos_ids: list[int]
    eos_token: str
    tokenizer_file: str

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        data = json.loads(path.read_text("utf-8"))
        tokens = [bytes.fromhex(token) for token in data["tokens"]]
        return cls(**{**data, "tokens": tokens})


Clock = Callable[[], int]

# What the process used is not disturbed by others that run, and costs a system call to ask.
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter_ns, "cpu": time.process_time_ns}


class Walk(NamedTuple):
    """One instance's way through a compiled schema.

    fill: writes the mask of the next token over the engine's row. accept: takes a token; False or
    an exception where the engine refuses one that its own mask allowed.
    """

    fill: Callable[[], object]
    accept: Callable[[int], object]


class Engine(ABC):
    """A grammar engine over one vocabulary.

    row: int32 [ceil(V / 32)], the one mask all walks write to. settings: what the table's footnote
    should say about how it was run.
    """

    row: NDArray[np.int32]
    version: str
    settings: str

    def prepare(self) -> None:  # noqa: B027
        """Called before each schema; not timed."""

    @abstractmethod
    def compile(self, schema: Any) -> Any:
        """Whatever `start` needs; any exception is a refusal, its `keyword` the reason."""

    @abstractmethod
    def start(self, compiled: Any) -> Walk:
        """A walk from the beginning of the text."""


def serve(make: Callable[[Vocabulary, dict[str, Any]], Engine]) -> None:
    """Answer requests until standard input ends: SCRIPT VOCABULARY.json OPTIONS-AS-JSON CLOCK."""
    out = _claim_stdout()
    vocabulary = Vocabulary.read(Path(sys.argv[1]))
    engine = make(vocabulary, json.loads(sys.argv[2]))
    clock = CLOCKS[sys.argv[3]]
    _say(out, {"version": engine.version, "settings": engine.settings})
    for line in sys.stdin:
        request = json.loads(line)
        engine.prepare()
        started = clock()
        try:
            compiled = engine.compile(request["schema"])
        except Exception as error:
            keyword = getattr(error, "keyword", None)
            _say(out, {"verdict": "refused", "why": _told(error), "keyword": keyword})
            continue
        _say(out, {"compile_ns": clock() - started})
        _say(out, _walk_all(engine, compiled, request["tests"], vocabulary.eos_ids, clock))


def _walk_all(
    engine: Engine,
    compiled: Any,
    tests: Sequence[dict[str, Any]],
    eos_ids: Sequence[int],
    clock: Clock,
) -> dict[str, Any]:
    """The verdict over a schema's instances, and every mask and accept in nanoseconds.

    Each mask has its accept at the same place in the lists, 0 where none was tried (the token was
    not allowed, or the text ended).
    As in MaskBench the first invalid instance that is accepted settles it, a valid one that is
    rejected does not: the other instances are walked nevertheless.
    """
    mask_ns: list[int] = []
    accept_ns: list[int] = []
    result: dict[str, Any] = {"verdict": "passed", "mask_ns": mask_ns, "accept_ns": accept_ns}
    for test in tests:
        try:
            walk = engine.start(compiled)
            accepted = _walk(walk, engine.row, test["ids"], eos_ids, mask_ns, accept_ns, clock)
        except Exception as error:
            return {**result, "verdict": "failed", "why": _told(error)}
        if accepted and not test["valid"]:
            return {**result, "verdict": "invalid accepted"}
        if test["valid"] and not accepted:
            result["verdict"] = "valid rejected"
    return result


def _walk(
    walk: Walk,
    row: NDArray[np.int32],
    ids: Sequence[int],
    eos_ids: Sequence[int],
    mask_ns: list[int],
    accept_ns: list[int],
    clock: Clock,
) -> bool:
    """Whether every token and then the end is allowed."""
    fill, accept = walk
    for token_id in ids:
        started = clock()
        fill()
        mask_ns.append(clock() - started)
        accept_ns.append(0)
        if not int(row[token_id >> 5]) >> (token_id & 31) & 1:
            return False
        started = clock()
        taken = accept(token_id)
        accept_ns[-1] = clock() - started
        if taken is False:
            raise AssertionError(f"token {token_id} is in the mask but was not accepted")
    started = clock()
    fill()
    mask_ns.append(clock() - started)
    accept_ns.append(0)
    return any(int(row[i >> 5]) >> (i & 31) & 1 for i in eos_ids)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _claim_stdout() -> TextIO:
    """Standard output for the answers alone; what an engine prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _say(out: TextIO, answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()
