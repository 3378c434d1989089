"""What the engine does per second on this machine: python benchmarks/engine.py [model]

Prints medians of several runs: time to first token and tokens per second of one stream, plain and
with a schema; throughput of a batch; prefill; and, with --transformers, the same stream there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from sestina import Engine

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 60},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2030},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 5},
        "summary": {"type": "string", "minLength": 200, "maxLength": 400},
    },
    "required": ["title", "year", "tags", "summary"],
    "additionalProperties": False,
}
PROMPT = "In the early morning the harbour was already busy, and the old captain "


@dataclass(frozen=True)
class Row:
    """One line of the table: what, and a figure per run."""

    name: str
    unit: str
    figures: list[float]

    def __str__(self) -> str:
        low, high = min(self.figures), max(self.figures)
        median = statistics.median(self.figures)
        return f"{self.name:44} {median:9.1f} {self.unit:8} ({low:.1f} .. {high:.1f})"


def repeat(name: str, unit: str, runs: int, run: Callable[[], float]) -> Row:
    run()  # warm-up: kernels compile, masks are cached
    return Row(name, unit, [run() for _ in range(runs)])


def stream(engine: Engine, num_tokens: int) -> float:
    engine.flush_cache()
    started = time.perf_counter()
    engine.generate(PROMPT, max_tokens=num_tokens, temperature=0, ignore_eos=True)
    return num_tokens / (time.perf_counter() - started)


def first_token(engine: Engine) -> float:
    engine.flush_cache()
    started = time.perf_counter()
    engine.generate(PROMPT * 4, max_tokens=1, temperature=0)
    return 1000 * (time.perf_counter() - started)


def with_schema(engine: Engine) -> float:
    engine.flush_cache()
    started = time.perf_counter()
    meta = engine.generate(PROMPT, json_schema=SCHEMA, max_tokens=256, temperature=0).meta
    return len(meta.ids) / (time.perf_counter() - started)


def batch(engine: Engine, num_prompts: int, num_tokens: int) -> float:
    engine.flush_cache()
    prompts = [f"{i}. {PROMPT * 7}" for i in range(num_prompts)]
    started = time.perf_counter()
    engine.generate(prompts, max_tokens=num_tokens, temperature=0, ignore_eos=True)
    return num_prompts * num_tokens / (time.perf_counter() - started)


def prefill(engine: Engine) -> float:
    engine.flush_cache()
    before = engine.stats().prefilled
    started = time.perf_counter()
    engine.generate(PROMPT * 70, max_tokens=0)
    return (engine.stats().prefilled - before) / (time.perf_counter() - started)


def transformers_stream(model: str, num_tokens: int, runs: int, dtype: str) -> Row:
    """The same greedy stream in transformers, from the same weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from sestina.backend.tokenizer import load_tokenizer
    from sestina.backend.weights.read import read_checkpoint
    from sestina.backend.weights.source import resolve_source

    path = resolve_source(model)
    checkpoint = read_checkpoint(path)
    ours = checkpoint.config
    config = LlamaConfig(
        vocab_size=ours.vocab_size,
        hidden_size=ours.hidden_size,
        intermediate_size=ours.intermediate_size,
        num_hidden_layers=ours.num_layers,
        num_attention_heads=ours.num_heads,
        num_key_value_heads=ours.num_kv_heads,
        rms_norm_eps=ours.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": ours.rope_theta},
        tie_word_embeddings=ours.tie_embeddings,
        max_position_embeddings=ours.max_len,
    )
    loaded = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()
    tensors = {name: checkpoint.tensors[name] for name in checkpoint.tensors}
    loaded.load_state_dict(tensors, strict=not ours.tie_embeddings)
    loaded.tie_weights()
    inputs = {"input_ids": torch.tensor([load_tokenizer(path).encode(PROMPT)])}

    def run() -> float:
        started = time.perf_counter()
        loaded.generate(
            **inputs, max_new_tokens=num_tokens, min_new_tokens=num_tokens, do_sample=False
        )
        return num_tokens / (time.perf_counter() - started)

    return repeat(f"transformers generate, {dtype}, {num_tokens} tokens", "tok/s", runs, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--transformers", action="store_true", help="measure it too (slow to load)")
    args = parser.parse_args()
    started = time.perf_counter()
    with Engine(args.model, dtype=args.dtype) as engine:
        load_s = time.perf_counter() - started
        dtype = str(engine.model.model.dtype).removeprefix("torch.")
        print(
            f"{args.model}, {dtype}, loaded in {load_s:.1f} s; median of {args.runs} (min .. max)"
        )
        print(repeat("one stream, 128 tokens", "tok/s", args.runs, lambda: stream(engine, 128)))
        print(repeat("one stream with a schema", "tok/s", args.runs, lambda: with_schema(engine)))
        print(
            repeat(
                "time to first token, 64-token prompt", "ms", args.runs, lambda: first_token(engine)
            )
        )
        print(repeat("prefill, 1,000 tokens", "tok/s", args.runs, lambda: prefill(engine)))
        print(repeat("16 prompts x 64 tokens", "tok/s", args.runs, lambda: batch(engine, 16, 64)))
    if args.transformers:
        print(transformers_stream(args.model, 128, args.runs, dtype))


if __name__ == "__main__":
    main()
