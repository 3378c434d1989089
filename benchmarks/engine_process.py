"""An engine to be measured as a process in its own environment, started again when it is lost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from line_process import LineProcess, ProcessLost


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
    def parse(cls, text: str, scripts: Mapping[str, str]) -> EngineSpec:
        """NAME=PYTHON, or NAME:OPTIONS=PYTHON with a JSON object of options; NAME has a script.

        >>> scripts = {"xgrammar": "mask_xgrammar.py"}
        >>> EngineSpec.parse('xgrammar:{"strict_mode": false}=/venv/bin/python', scripts).label
        'xgrammar strict_mode=false'
        """
        label, _, python = text.rpartition("=")
        name, _, options = label.partition(":")
        if not python or name not in scripts:
            raise ValueError(f"expected NAME[:OPTIONS]=PYTHON with NAME of {list(scripts)}")
        return cls(name, json.loads(options or "{}"), python)


class EngineProcess:
    """One engine; `process` is the one that runs now, `num_starts` counts them."""

    def __init__(self, spec: EngineSpec, command: Sequence[str], seconds: float) -> None:
        """`seconds` is how long it may take to answer. RuntimeError if it does not start."""
        self.spec = spec
        self.seconds = seconds
        self.num_starts = 0
        self.version = self.settings = ""
        self._command = command
        try:
            self._start()
        except ProcessLost as lost:
            raise RuntimeError(f"{spec.label} does not start: {lost}") from None

    def replace(self, lost: ProcessLost) -> str:
        """End the process and start another, in which nothing is warm; what became of the first."""
        told = f"{lost}; {self.process.last_words()}"
        self.close()
        with contextlib.suppress(ProcessLost):
            self._start()
        return told

    def close(self) -> None:
        self.process.close()

    def _start(self) -> None:
        self.num_starts += 1
        self.process = LineProcess(self._command)
        hello = self.process.hello
        self.version, self.settings = hello["version"], hello["settings"]
