"""The engines of mask.py as processes, asked a schema at a time and restarted when lost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from line_process import LineProcess, ProcessLost

SCRIPTS = {
    "ours": "mask_ours.py",
    "llguidance": "mask_llguidance.py",
    "xgrammar": "mask_xgrammar.py",
    "outlines-core": "mask_outlines.py",
}


@dataclass(frozen=True)
class EngineSpec:
    """How an engine is run: its name, the Python of its environment, options for its script."""

    name: str
    options: dict[str, Any]
    python: str

    @property
    def label(self) -> str:
        """Name and options, as the tables show it."""
        told = (f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in self.options.items())
        return " ".join([self.name, *told])

    @classmethod
    def parse(cls, text: str, scripts: Mapping[str, str] = SCRIPTS) -> EngineSpec:
        """NAME=PYTHON, or NAME:OPTIONS=PYTHON with a JSON object of options; NAME has a script.

        >>> EngineSpec.parse('xgrammar:{"strict_mode": false}=/venv/bin/python').label
        'xgrammar strict_mode=false'
        """
        label, _, python = text.rpartition("=")
        name, _, options = label.partition(":")
        if not python or name not in scripts:
            raise ValueError(f"expected NAME[:OPTIONS]=PYTHON with NAME of {list(scripts)}")
        return cls(name, json.loads(options or "{}"), python)


class EngineProcess:
    """One engine over one vocabulary. `ask` never raises for what the engine does."""

    def __init__(self, spec: EngineSpec, vocabulary: Path, seconds: float, clock: str) -> None:
        self.spec = spec
        self.seconds = seconds
        self.num_starts = 0
        self.version = self.settings = ""
        self._command = [
            spec.python,
            str(Path(__file__).parent / SCRIPTS[spec.name]),
            str(vocabulary),
            json.dumps(spec.options),
            clock,
        ]
        try:
            self._start()
        except ProcessLost as lost:
            raise RuntimeError(f"{spec.label} does not start: {lost}") from None

    def ask(self, schema: Any, tests: list[dict[str, Any]]) -> dict[str, Any]:
        """What became of a schema: the answers of mask_walk.py as one.

        The time limit holds for compiling and again for walking. An engine that passes it, or whose
        process ends, is lost: it has refused the schema, or failed it when it had compiled it. What
        comes next is asked of another process, in which nothing is warm.
        """
        answer: dict[str, Any] = {"verdict": "", "mask_ns": [], "accept_ns": []}
        if not self._process.is_alive():
            return {**answer, "verdict": "refused", "lost": "it did not start again"}
        try:
            self._process.send({"schema": schema, "tests": tests})
            while not answer["verdict"]:
                answer |= self._process.answer(self.seconds)
        except ProcessLost as lost:
            verdict = "failed" if "compile_ns" in answer else "refused"
            answer |= {"verdict": verdict, "lost": f"{lost}; {self._process.last_words()}"}
            self.close()
            with contextlib.suppress(ProcessLost):
                self._start()
        return answer

    def close(self) -> None:
        self._process.close()

    def _start(self) -> None:
        self.num_starts += 1
        self._process = LineProcess(self._command)
        hello = self._process.hello
        self.version, self.settings = hello["version"], hello["settings"]
