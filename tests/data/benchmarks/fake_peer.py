"""A peer for tests of serve.py: it writes how long its prompt is.

Options: batched (true). A prompt that holds "die" ends the process, "raise" is refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from serve_peer import Data, Peer, Request, serve


class Fake(Peer):
    version = "1"

    def __init__(self, options: Data) -> None:
        self.is_batched = options.get("batched", True)
        self.settings = f"dtype {options['dtype']}"
        self.num_calls = 0

    def counters(self) -> Data:
        return {"calls": self.num_calls}

    def complete(self, requests: Sequence[Request]) -> list[str]:
        print("this is no answer")
        self.num_calls += 1
        for request in requests:
            if "die" in request.prompt:
                print("last words", file=sys.stderr, flush=True)
                os._exit(3)
            if "raise" in request.prompt:
                raise ValueError("not today")
        return [f"<{len(request.prompt)}>" for request in requests]


if __name__ == "__main__":
    serve(Fake)
