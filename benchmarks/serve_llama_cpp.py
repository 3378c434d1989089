"""llama-cpp-python for serve.py. Options: weights ("file": the GGUF file as it is).

One request at a time, as `Llama` does it: it keeps the KV cache of the last prompt, so that what
the next one has in common with it at its start is not computed again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray
from serve_peer import Data, Peer, Request, serve


class LlamaCpp(Peer):
    is_batched = False

    def __init__(self, options: Data) -> None:
        self.version = version("llama-cpp-python")
        file = model_file(options)
        threads = options["threads"]
        settings = {"n_threads": threads, "n_threads_batch": threads, "n_ctx": 4096}
        self.llama = llama_cpp.Llama(str(file), verbose=False, **settings)
        self.settings = f"{file.name}, one request at a time, {settings}"
        self.no_eos = {self.llama.token_eos(): float("-inf")}

    def counters(self) -> Data:
        counted = llama_cpp.llama_perf_context(self.llama.ctx)
        return {"prefilled": counted.n_p_eval, "sampled": counted.n_eval}

    def complete(self, requests: Sequence[Request]) -> list[str]:
        texts = []
        for prompt, gen in requests:
            made: Any = self.llama.create_completion(
                prompt,
                max_tokens=gen["max_tokens"],
                temperature=0,
                grammar=self.grammar(gen),
                logit_bias=self.no_eos if gen.get("ignore_eos") else None,
            )
            texts.append(made["choices"][0]["text"])
        return texts

    def grammar(self, gen: Data) -> llama_cpp.LlamaGrammar | None:
        """As `create_completion` users make it, for each request."""
        if "schema" in gen:
            return llama_cpp.LlamaGrammar.from_json_schema(json.dumps(gen["schema"]), verbose=False)
        if "choices" in gen:
            rule = "root ::= " + " | ".join(map(json.dumps, gen["choices"]))
            return llama_cpp.LlamaGrammar.from_string(rule, verbose=False)
        if "gbnf" in gen:
            return llama_cpp.LlamaGrammar.from_string(gen["gbnf"], verbose=False)
        return None

    def select(self, prefix: str, questions: Sequence[Data]) -> list[int]:
        """The prefix is computed once, a question once, and each option after it."""
        self.llama.reset()
        self.llama.eval(self._ids(prefix))
        num_shared = self.llama.n_tokens
        chosen = []
        for question in questions:
            self.llama.n_tokens = num_shared
            self.llama.eval(self._ids(question["text"]))
            first = _log_softmax(self._logits(1))[0]
            scores = [self._score(first, self._ids(option)) for option in question["options"]]
            chosen.append(int(np.argmax(scores)))
        return chosen

    def _score(self, first: NDArray[np.float32], ids: list[int]) -> float:
        """Mean log-probability of an option; its last token need not be computed."""
        logprobs = [first[ids[0]]]
        if len(ids) > 1:
            context, batch = self.llama._ctx, self.llama._batch
            context.kv_cache_seq_rm(-1, self.llama.n_tokens, -1)
            batch.set_batch(batch=ids[:-1], n_past=self.llama.n_tokens, logits_all=True)
            context.decode(batch)
            rows = _log_softmax(self._logits(len(ids) - 1))
            logprobs += list(rows[np.arange(len(ids) - 1), ids[1:]])
        return float(np.mean(logprobs))

    def _ids(self, text: str) -> list[int]:
        return self.llama.tokenize(text.encode(), add_bos=False)

    def _logits(self, rows: int) -> NDArray[np.float32]:
        size = rows * self.llama.n_vocab()
        logits = np.ctypeslib.as_array(self.llama._ctx.get_logits(), shape=(size,))
        return logits.reshape(rows, -1)


def model_file(options: Data) -> Path:
    """The GGUF file as it is, or its conversion to the dtype of the run."""
    if options.get("weights") == "file":
        return Path(options["source"])
    return Path(options["folder"], f"{options['dtype']}.gguf")


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


if __name__ == "__main__":
    serve(LlamaCpp)
