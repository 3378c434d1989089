"""The engines of mask.py as processes, asked a schema at a time and restarted when lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine_process import EngineProcess, EngineSpec
from line_process import ProcessLost

SCRIPTS = {
    "ours": "mask_ours.py",
    "llguidance": "mask_llguidance.py",
    "xgrammar": "mask_xgrammar.py",
    "outlines-core": "mask_outlines.py",
}


def parse_spec(text: str) -> EngineSpec:
    """`EngineSpec.parse` for the scripts there are."""
    return EngineSpec.parse(text, SCRIPTS)


class MaskProcess(EngineProcess):
    """One engine over one vocabulary. `ask` never raises for what the engine does."""

    def __init__(self, spec: EngineSpec, vocabulary: Path, seconds: float, clock: str) -> None:
        script = Path(__file__).parent / SCRIPTS[spec.name]
        options = json.dumps(spec.options)
        super().__init__(spec, [spec.python, str(script), str(vocabulary), options, clock], seconds)

    def ask(self, schema: Any, tests: list[dict[str, Any]]) -> dict[str, Any]:
        """What became of a schema: the answers of mask_walk.py as one.

        The time limit holds for compiling and again for walking. An engine that passes it, or whose
        process ends, is lost: it has refused the schema, or failed it when it had compiled it. What
        comes next is asked of another process, in which nothing is warm.
        """
        answer: dict[str, Any] = {"verdict": "", "mask_ns": [], "accept_ns": []}
        if not self.process.is_alive():
            return {**answer, "verdict": "refused", "lost": "it did not start again"}
        try:
            self.process.send({"schema": schema, "tests": tests})
            while not answer["verdict"]:
                answer |= self.process.answer(self.seconds)
        except ProcessLost as lost:
            verdict = "failed" if "compile_ns" in answer else "refused"
            answer |= {"verdict": verdict, "lost": self.replace(lost)}
        return answer
