"""vLLM's CPU build for serve.py. Options: those of vllm.LLM.

A step of a workload is one call of `generate`, which batches and shares prefixes as it does. The
engine runs in this process, so that its CPU time can be counted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from serve_peer import Data, Peer, Request, serve

GIBIBYTES_OF_KV = 4


class VLLM(Peer):
    is_batched = True

    def __init__(self, options: Data) -> None:
        os.environ |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(GIBIBYTES_OF_KV),
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, range(options.pop("threads")))),
        }
        import vllm  # reads its environment when imported

        folder, _ = Path(options.pop("folder"), "hf"), options.pop("source")
        options = {
            "max_model_len": 4096,
            "structured_outputs_config": {
                "backend": "xgrammar",
                "disable_any_whitespace": True,
            },
            **options,
        }
        self.vllm: Any = vllm
        self.llm = vllm.LLM(str(folder), **options)
        self.counted = {"prefilled": 0, "cached": 0, "sampled": 0}
        self.version = version("vllm-cpu")
        self.settings = f"LLM({options}), xgrammar; W2: prompt log-probabilities"

    def counters(self) -> Data:
        return dict(self.counted)

    def complete(self, requests: Sequence[Request]) -> list[str]:
        outputs = self._generate(
            [request.prompt for request in requests],
            [
                self.vllm.SamplingParams(
                    temperature=0,
                    max_tokens=gen["max_tokens"],
                    ignore_eos=gen.get("ignore_eos", False),
                    structured_outputs=self._form(gen),
                )
                for _, gen in requests
            ],
        )
        return [output.outputs[0].text for output in outputs]

    def _generate(self, prompts: list[Any], params: Any) -> list[Any]:
        outputs: list[Any] = self.llm.generate(prompts, params, use_tqdm=False)
        for output in outputs:
            cached = output.num_cached_tokens or 0
            self.counted["prefilled"] += len(output.prompt_token_ids) - cached
            self.counted["cached"] += cached
            self.counted["sampled"] += len(output.outputs[0].token_ids)
        return outputs

    def _form(self, gen: Data) -> Any:
        form = self.vllm.sampling_params.StructuredOutputsParams
        if "schema" in gen:
            return form(json=gen["schema"])
        if "choices" in gen:
            return form(choice=gen["choices"])
        return form(regex=gen["regex"]) if "regex" in gen else None

    def select(self, prefix: str, questions: Sequence[Data]) -> list[int]:
        """Every question with every option as a prompt, whose log-probabilities are asked for."""
        encode = self.llm.get_tokenizer().encode
        starts = [encode(prefix + question["text"]) for question in questions]
        options = [[encode(option) for option in question["options"]] for question in questions]
        prompts = [
            {"prompt_token_ids": start + ids}
            for start, group in zip(starts, options, strict=True)
            for ids in group
        ]
        scored = self.vllm.SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0)
        outputs = iter(self._generate(prompts, scored))
        return [
            _best([_mean(next(outputs).prompt_logprobs[-len(ids) :], ids) for ids in group])
            for group in options
        ]


def _mean(logprobs: Sequence[Any], ids: Sequence[int]) -> float:
    return sum(at[i].logprob for at, i in zip(logprobs, ids, strict=True)) / len(ids)


def _best(scores: list[float]) -> int:
    return scores.index(max(scores))


if __name__ == "__main__":
    serve(VLLM)
