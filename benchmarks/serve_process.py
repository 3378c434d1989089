"""The engines of serve.py as processes, asked a workload at a time and restarted when lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine_process import EngineProcess, EngineSpec
from line_process import ProcessLost

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


class ServeProcess(EngineProcess):
    """One engine. `ask` never raises for what the engine does."""

    def __init__(self, spec: EngineSpec, common: dict[str, Any], seconds: float) -> None:
        """`common` are options for every script, `seconds` the limit for a workload."""
        folder = Path(__file__).parent
        script, options = folder / SCRIPTS[spec.name], json.dumps({**common, **spec.options})
        command = [spec.python, "-c", _RUN_SCRIPT, str(folder), str(script), options]
        super().__init__(spec, command, seconds)

    def ask(self, data: dict[str, Any]) -> dict[str, Any]:
        """The answer of serve_peer.py, or {"refused": why}."""
        if not self.process.is_alive():
            return {"refused": "it did not start again"}
        try:
            self.process.send(data)
            answer: dict[str, Any] = self.process.answer(self.seconds)
        except ProcessLost as lost:
            answer = {"refused": self.replace(lost)}
        return answer
