"""Draw one token per row from logits under a grammar mask.

For each row, in this order:

    mask          forbidden ids leave (ids beyond the mask are forbidden)
    temperature   p is proportional to exp(logit / temperature); 0 takes the largest logit at once
    top-k         the k most likely stay
    top-p         of those, the smallest set whose share of their mass is at least p stays
    min-p         of those, ids with p_i >= min_p * max(p) stay
    draw          the largest of log(p_i) + gumbel_i (Gumbel 1954; Maddison et al. 2014)

Equal logits are ordered by id, the lowest first, wherever an order matters.

The noise of an id depends on (seed, position, id) alone, so a draw does not depend on the batch,
on what else runs, or on the machine:

    mix(z)     z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB;
               z ^= z >> 31                                     (uint64, wrapping)
    nth(s, i)  mix(s + (i + 1) * 0x9E3779B97F4A7C15)            output i of SplitMix64 seeded by s
    bits       nth(nth(mix(seed), position), id)
    u          ((bits >> 12) + 0.5) / 2**52                     in (0, 1), exact in float64
    gumbel     -log(-log(u))

SplitMix64 is from Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sestina.kernels.masked_sampling import cpu
from sestina.kernels.masked_sampling.logprobs import logprobs_of, top_logprobs

__all__ = ["Drawn", "RowSettings", "logprobs_of", "masked_sample", "top_logprobs"]


@dataclass(frozen=True, slots=True)
class RowSettings:
    """How to draw, one entry per row. Ranges are the caller's to check (SamplingParams does)."""

    temperature: NDArray[np.float32]  # [B], >= 0; 0 is greedy
    top_k: NDArray[np.int32]  # [B], -1 is off
    top_p: NDArray[np.float32]  # [B], in (0, 1]
    min_p: NDArray[np.float32]  # [B], in [0, 1]
    seeds: NDArray[np.uint64]  # [B]
    positions: NDArray[np.int64]  # [B], which token of its generation is drawn


class Drawn(NamedTuple):
    """ids int32 [B]: the token drawn, or -1 where nothing is allowed or a logit is NaN or +inf.

    removed_mass float32 [B]: the probability (at temperature 1) of what the mask forbade; 0 without
    a mask, NaN where the logits are broken.
    """

    ids: NDArray[np.int32]
    removed_mass: NDArray[np.float32]


def masked_sample(
    logits: Tensor,
    masks: NDArray[np.int32],
    mask_rows: NDArray[np.int32],
    settings: RowSettings,
    places: NDArray[np.int64] | None = None,
) -> Drawn:
    """One token for each of B rows of `logits` float32 [N, V], which is only read.

    places int64 [B]: which row of the logits each one draws from; None: all of them in turn.

    masks int32 [M, W], packed, 1 = allowed: bit i % 32 of word i // 32 is id i. mask_rows int32 [B]
    names each row's mask, -1 for none; rows may share one. Logits may be -inf (never drawn).
    Logits on another device are copied to the host first. ValueError when shapes disagree.

    Cost per row: a pass over V, two more with a mask; top-k and top-p sort only the ids near their
    limit.
    """
    if places is None:
        places = np.arange(len(logits))
    num_rows = len(places)
    arrays = (mask_rows, *(getattr(settings, field.name) for field in fields(settings)))
    if logits.ndim != 2 or masks.ndim != 2 or any(a.shape != (num_rows,) for a in arrays):
        raise ValueError(f"logits [B, V], masks [M, W] and per-row arrays [{num_rows}] are needed")
    # Compiled code does not check its indices.
    if num_rows and int(mask_rows.max()) >= len(masks):
        raise ValueError(f"mask row {int(mask_rows.max())} of {len(masks)}")
    if np.count_nonzero((places < 0) | (places >= len(logits))):
        raise ValueError(f"places beyond {len(logits)} rows of logits")
    on_host = logits.detach().cpu().contiguous().numpy()
    return Drawn(*cpu.masked_sample(on_host, places, masks, mask_rows, settings))
