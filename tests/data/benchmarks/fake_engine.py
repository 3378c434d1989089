"""An engine for tests of mask.py that does what the "schema" says.

allow: ids in every mask. ends: the end is allowed. accepts: ids that accept_token takes. at compile
and at walk: "raise", "die" or "hang".
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import numpy as np
from mask_walk import Engine, Vocabulary, Walk, serve

END = 7


class Fake(Engine):
    version = "1"
    settings = "as told"

    def __init__(self, vocabulary: Vocabulary, options: dict[str, Any]) -> None:
        self.row = np.zeros(1, np.int32)

    def compile(self, schema: Any) -> Any:
        print("this is no answer")
        misbehave(schema.get("at compile"))
        return schema

    def start(self, compiled: Any) -> Walk:
        misbehave(compiled.get("at walk"))
        ids = [*compiled.get("allow", ()), *([END] if compiled.get("ends") else [])]

        def fill() -> None:
            self.row[0] = sum(1 << i for i in ids)

        return Walk(fill, lambda token_id: token_id in compiled.get("accepts", ids))


def misbehave(how: str | None) -> None:
    if how == "raise":
        raise ValueError("not today")
    if how == "die":
        print("last words", file=sys.stderr, flush=True)
        os._exit(3)
    if how == "hang":
        time.sleep(60)


if __name__ == "__main__":
    serve(Fake)
