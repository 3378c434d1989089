"""Guidance on llama.cpp for serve.py. Options: weights ("file": the GGUF file as it is).

Its `select` writes an option under a constraint; there is no scoring by log-probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import guidance
from serve_peer import Data, Peer, Request, serve


class Guidance(Peer):
    is_batched = False

    def __init__(self, options: Data) -> None:
        as_it_is = options.get("weights") == "file"
        converted = Path(options["folder"], f"{options['dtype']}.gguf")
        file = Path(options["source"]) if as_it_is else converted
        threads = options["threads"]
        settings = {"n_threads": threads, "n_threads_batch": threads, "n_ctx": 4096}
        self.model: Any = guidance.models.LlamaCpp(str(file), echo=False, **settings)
        self.version = f"{version('guidance')}, llama-cpp-python {version('llama-cpp-python')}"
        self.settings = f"{file.name}, one request at a time, {settings}"

    def complete(self, requests: Sequence[Request]) -> list[str]:
        return [str((self.model + prompt + _grammar(gen))["text"]) for prompt, gen in requests]


def _grammar(gen: Data) -> Any:
    size = gen["max_tokens"]
    if "schema" in gen:
        return guidance.json("text", schema=gen["schema"], temperature=0, max_tokens=size)
    if "choices" in gen:
        return guidance.select(gen["choices"], name="text")
    regex = gen.get("regex")
    if gen.get("ignore_eos") and regex is None:
        # It has no such option; a text that is longer than max_tokens can be has no end before.
        regex = f"(?s:.{{{16 * size},}})"
    return guidance.gen("text", regex=regex, max_tokens=size, temperature=0)


if __name__ == "__main__":
    serve(Guidance)
