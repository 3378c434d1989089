"""The engines of serve.py as processes, asked a workload at a time and restarted when lost."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from line_process import LineProcess, ProcessLost
from mask_process import EngineSpec

SCRIPTS = {
    "ours": "serve_ours.py",
    "guidance": "serve_guidance.py",
    "llama-cpp": "serve_llama_cpp.py",
    "transformers": "serve_transformers.py",
    "vllm": "serve_vllm.py",
}


# Libraries look for others by name; none is to find a script of this folder in their place.
_RUN_SCRIPT = """
import runpy, sys
sys.path[0] = sys.argv.pop(1)
import serve_peer
del sys.path[0]
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


class ServeProcess:
    """One engine. `ask` never raises for what the engine does."""

    def __init__(self, spec: EngineSpec, common: dict[str, Any], seconds: float) -> None:
        """`common` are options for every script, `seconds` the limit for a workload."""
        self.spec = spec
        self.seconds = seconds
        folder = Path(__file__).parent
        script, options = folder / SCRIPTS[spec.name], json.dumps({**common, **spec.options})
        self._command = [spec.python, "-c", _RUN_SCRIPT, str(folder), str(script), options]
        self.version = self.settings = ""
        try:
            self._start()
        except ProcessLost as lost:
            raise RuntimeError(f"{spec.label} does not start: {lost}") from None

    def ask(self, data: dict[str, Any]) -> dict[str, Any]:
        """The answer of serve_peer.py, or {"refused": why}."""
        if not self._process.is_alive():
            return {"refused": "it did not start again"}
        try:
            self._process.send(data)
            answer: dict[str, Any] = self._process.answer(self.seconds)
        except ProcessLost as lost:
            answer = {"refused": f"{lost}; {self._process.last_words()}"}
            self.close()
            with contextlib.suppress(ProcessLost):
                self._start()
        return answer

    def close(self) -> None:
        self._process.close()

    def _start(self) -> None:
        self._process = LineProcess(self._command)
        hello = self._process.hello
        self.version, self.settings = hello["version"], hello["settings"]
