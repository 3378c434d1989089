"""transformers for serve.py: static batches, xgrammar's logits processor for what is constrained.

Options: max_batch (64).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xgrammar
from serve_peer import Data, Peer, Request, serve
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from xgrammar.contrib.hf import LogitsProcessor


class Transformers(Peer):
    is_batched = True

    def __init__(self, options: Data) -> None:
        torch.set_num_threads(options["threads"])
        folder = Path(options["folder"], "hf")
        self.max_batch = options.get("max_batch", 64)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        dtype = getattr(torch, options["dtype"])
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        size = self.model.config.vocab_size
        info = xgrammar.TokenizerInfo.from_huggingface(self.tokenizer, vocab_size=size)
        self.compiler = xgrammar.GrammarCompiler(info)
        self.counted = {"prefilled": 0, "sampled": 0, "forward_passes": 0}
        self.version = f"{version('transformers')}, xgrammar {version('xgrammar')}"
        self.settings = (
            f"{options['dtype']}, static batches of at most {self.max_batch}, left padded, "
            "any_whitespace=False; W2: the prefix's KV cache kept by hand"
        )

    def counters(self) -> Data:
        return dict(self.counted)

    def complete(self, requests: Sequence[Request]) -> list[str]:
        texts: list[str] = []
        for at in range(0, len(requests), self.max_batch):
            texts += self._batch(requests[at : at + self.max_batch])
        return texts

    def _batch(self, requests: Sequence[Request]) -> list[str]:
        gen = requests[0].gen
        inputs = self.tokenizer([r.prompt for r in requests], return_tensors="pt", padding=True)
        grammars = [self._grammar(r.gen) for r in requests]
        size = gen["max_tokens"]
        out: Any = self.model.generate(
            **inputs,
            max_new_tokens=size,
            min_new_tokens=size if gen.get("ignore_eos") else None,
            do_sample=False,
            logits_processor=None if None in grammars else [LogitsProcessor(grammars)],
        )
        made = out[:, inputs["input_ids"].shape[1] :]
        self.counted["prefilled"] += int(inputs["attention_mask"].sum())
        self.counted["sampled"] += int((made != self.tokenizer.pad_token_id).sum())
        self.counted["forward_passes"] += made.shape[1]
        texts: list[str] = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return texts

    def _grammar(self, gen: Data) -> Any:
        """Compiled grammars are cached by the compiler."""
        if "schema" in gen:
            schema = json.dumps(gen["schema"])
            return self.compiler.compile_json_schema(schema, any_whitespace=False)
        if "choices" in gen:
            return self.compiler.compile_regex("|".join(map(re.escape, gen["choices"])))
        return self.compiler.compile_regex(gen["regex"]) if "regex" in gen else None

    @torch.inference_mode()
    def select(self, prefix: str, questions: Sequence[Data]) -> list[int]:
        """The prefix is computed once, a question once, its options as one batch after it."""
        shared = self._read(self._ids(prefix), DynamicCache())
        chosen = []
        for question in questions:
            cache = copy.deepcopy(shared[1])
            first, cache = self._read(self._ids(question["text"]), cache)
            options = [self._ids(option) for option in question["options"]]
            cache.batch_repeat_interleave(len(options))
            longest = max(map(len, options))
            padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids in options])
            rows = self.model(padded, past_key_values=cache).logits
            before = first[:, -1:].expand(len(options), 1, -1)
            logprobs = torch.cat([before, rows[:, :-1]], dim=1).float().log_softmax(-1)
            taken = logprobs.gather(2, padded[..., None])[..., 0]
            scores = [
                float(row[: len(ids)].mean()) for row, ids in zip(taken, options, strict=True)
            ]
            chosen.append(scores.index(max(scores)))
            self.counted["prefilled"] += sum(map(len, options))
            self.counted["forward_passes"] += 1
        return chosen

    def _read(self, ids: list[int], cache: DynamicCache) -> tuple[torch.Tensor, DynamicCache]:
        """Logits of the last token [1, 1, V], and the cache with these tokens."""
        out = self.model(torch.tensor([ids]), past_key_values=cache, logits_to_keep=1)
        self.counted["prefilled"] += len(ids)
        self.counted["forward_passes"] += 1
        return out.logits, cache

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids


if __name__ == "__main__":
    serve(Transformers)
