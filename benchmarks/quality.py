"""What narrower weights cost: perplexity of a fixed text, and how often the likeliest token stays.

    python benchmarks/quality.py --text docs/tour.md --tokens 2000

The text is read in pieces of 500 tokens, each from its beginning; all but the first token of a
piece count. `agreement` is the share of them after which the likeliest token is that of float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from sestina.backend.device import ON_CPU
from sestina.backend.loading import load_model
from sestina.backend.models.naive import sequence_logits

PIECE = 500


def measure(model: str, dtype: torch.dtype, text: str, num_tokens: int) -> tuple[float, Tensor]:
    """Perplexity, and the likeliest token after each one that counts."""
    loaded = load_model(model, dtype=dtype, device=torch.device("cpu"))
    ids = loaded.tokenizer.encode(text)[:num_tokens]
    lost, best = [], []
    for start in range(0, len(ids) - 1, PIECE):
        piece = ids[start : start + PIECE]
        logits = sequence_logits(loaded.model, piece)[:-1].double()
        lost.append(
            torch.nn.functional.cross_entropy(logits, torch.tensor(piece[1:]), reduction="none")
        )
        best.append(logits.argmax(dim=1))
    return float(torch.cat(lost).mean().exp()), torch.cat(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--text", type=Path, default=Path(__file__).parent.parent / "docs/tour.md")
    parser.add_argument("--tokens", type=int, default=2000)
    args = parser.parse_args()
    text = args.text.read_text()
    plain, expected = measure(args.model, ON_CPU["float32"], text, args.tokens)
    print(f"{args.text.name}, {len(expected)} tokens\n")
    print("| weights | perplexity | of float32's | agreement |\n|---|---|---|---|")
    for name, dtype in ON_CPU.items():
        perplexity, best = measure(args.model, dtype, text, args.tokens)
        share = float((best == expected).double().mean())
        print(f"| {name} | {perplexity:.4f} | {perplexity / plain:.4f} | {share:.2%} |")


if __name__ == "__main__":
    main()
