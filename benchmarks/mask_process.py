"""The engines of mask.py as processes, asked a schema at a time and restarted when lost."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

START_SECONDS = 600  # loading the libraries and reading the vocabulary


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
    def parse(cls, text: str) -> EngineSpec:
        """NAME=PYTHON, or NAME:OPTIONS=PYTHON with a JSON object of options.

        >>> EngineSpec.parse('xgrammar:{"strict_mode": false}=/venv/bin/python').label
        'xgrammar strict_mode=false'
        """
        label, _, python = text.rpartition("=")
        name, _, options = label.partition(":")
        if not python or name not in SCRIPTS:
            raise ValueError(f"expected NAME[:OPTIONS]=PYTHON with NAME of {list(SCRIPTS)}")
        return cls(name, json.loads(options or "{}"), python)


SCRIPTS = {
    "ours": "mask_ours.py",
    "llguidance": "mask_llguidance.py",
    "xgrammar": "mask_xgrammar.py",
    "outlines-core": "mask_outlines.py",
}


class EngineLost(Exception):
    """The process has ended or is to be ended."""


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
        except EngineLost as lost:
            raise RuntimeError(
                f"{spec.label} does not start: {lost}\n{self._last_words()}"
            ) from None

    def ask(self, schema: Any, tests: list[dict[str, Any]]) -> dict[str, Any]:
        """What became of a schema: the answers of mask_walk.py as one.

        The time limit holds for compiling and again for walking. An engine that passes it, or whose
        process ends, is lost: it has refused the schema, or failed it when it had compiled it. What
        comes next is asked of another process, in which nothing is warm.
        """
        answer: dict[str, Any] = {"verdict": "", "mask_ns": [], "accept_ns": []}
        if self._process.poll() is not None:
            return {**answer, "verdict": "refused", "lost": "it did not start again"}
        try:
            with contextlib.suppress(OSError):  # it has ended, which its answer tells
                self._requests.write(json.dumps({"schema": schema, "tests": tests}) + "\n")
                self._requests.flush()
            while not answer["verdict"]:
                answer |= json.loads(self._answer(self.seconds))
        except EngineLost as lost:
            verdict = "failed" if "compile_ns" in answer else "refused"
            answer |= {"verdict": verdict, "lost": f"{lost}; {self._last_words()}"}
            self.close()
            with contextlib.suppress(EngineLost):
                self._start()
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # a request it did not read
            self._requests.close()
        self._errors.close()

    def _answer(self, seconds: float) -> str:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise EngineLost(f"no answer in {seconds:g} s") from None
        if line is None:
            raise EngineLost(f"exit status {self._process.wait()}")
        return line

    def _start(self) -> None:
        self.num_starts += 1
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: TextIO = self._process.stdin  # type: ignore[assignment]
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(
            target=_read, args=(self._process.stdout, self._answers), daemon=True
        ).start()
        hello = json.loads(self._answer(START_SECONDS))
        self.version, self.settings = hello["version"], hello["settings"]

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip()[-500:]


def _read(lines: Any, answers: queue.Queue[str | None]) -> None:
    """Pass lines on as they come, then None."""
    with lines:
        for line in lines:
            answers.put(line)
    answers.put(None)
