"""Masked sampling in numba: float64 where a probability decides, no full sort.

A limit (top-k, top-p) is found through a histogram of the distances to the best logit: whole bins
are kept until the limit falls inside one, and only that bin is sorted. Most Gumbel noise is never
computed: the exponent of 1 - u bounds it from above, which rules out nearly every id.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sestina.kernels.masked_sampling.scan import best_allowed, forbidden_mass, largest
from sestina.kernels.numba_jit import jit_exact

if TYPE_CHECKING:
    from sestina.kernels.masked_sampling import RowSettings

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LN2 = math.log(2.0)

NUM_BINS = 4096
BINS_PER_NAT = 64.0  # 64 nats in all; what lies further away shares the last bin


def masked_sample(
    logits: NDArray[np.float32],
    places: NDArray[np.int64],
    masks: NDArray[np.int32],
    mask_rows: NDArray[np.int32],
    settings: RowSettings,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """ids int32 [B] and removed mass float32 [B]; the contract is in the package docstring."""
    ids = np.empty(len(places), dtype=np.int32)
    removed_mass = np.empty(len(places), dtype=np.float32)
    _sample_rows(
        logits,
        places,
        masks,
        mask_rows,
        settings.temperature,
        settings.top_k,
        settings.top_p,
        settings.min_p,
        settings.seeds,
        settings.positions,
        ids,
        removed_mass,
    )
    return ids, removed_mass


@jit_exact
def _sample_rows(
    logits: NDArray[np.float32],
    places: NDArray[np.int64],
    masks: NDArray[np.int32],
    mask_rows: NDArray[np.int32],
    temperature: NDArray[np.float32],
    top_k: NDArray[np.int32],
    top_p: NDArray[np.float32],
    min_p: NDArray[np.float32],
    seeds: NDArray[np.uint64],
    positions: NDArray[np.int64],
    ids: NDArray[np.int32],
    removed_mass: NDArray[np.float32],
) -> None:
    vocab_size = logits.shape[1]
    everything = np.full((vocab_size + 31) // 32, np.int32(-1), dtype=np.int32)
    kept = np.empty(vocab_size + 1, dtype=np.int32)  # ids; one spare for branch-free appending
    gaps = np.empty(vocab_size + 1, dtype=np.float64)  # distance of each kept id to the best logit
    weights = np.empty(vocab_size, dtype=np.float64)
    mass = np.zeros(NUM_BINS)
    for b in range(len(places)):
        row = logits[places[b]]
        top, best = largest(row)
        if np.isnan(top):
            ids[b], removed_mass[b] = np.int32(-1), np.float32(np.nan)
            continue
        words, removed_mass[b] = everything, 0.0
        if mask_rows[b] >= 0:
            words = masks[mask_rows[b]]
            best = best_allowed(row, words)
            removed_mass[b] = forbidden_mass(row, words, top)
        if best < 0 or temperature[b] == 0:
            ids[b] = best
            continue
        heat = np.float64(temperature[b])
        n = _gather(row, words, row[best], kept, gaps)
        if 0 < top_k[b] < n:
            weights[:n] = 1.0
            n = _cut(kept, gaps, weights, n, np.float64(top_k[b]), mass)
        if top_p[b] < 1:
            weights[:n] = np.exp(-gaps[:n] / heat)
            n = _cut(kept, gaps, weights, n, np.float64(top_p[b]) * weights[:n].sum(), mass)
        key = _nth(_mix(seeds[b]), np.uint64(positions[b]))
        ids[b] = _draw(kept, gaps, n, heat, np.float64(min_p[b]), key)


@jit_exact
def _gather(
    row: NDArray[np.float32],
    words: NDArray[np.int32],
    top: np.float32,
    kept: NDArray[np.int32],
    gaps: NDArray[np.float64],
) -> Any:
    """List the allowed ids, ascending, with their distances to `top`; returns how many.

    Ids at -inf are listed too: at an infinite distance they are last in line and cannot be drawn.
    """
    n = np.int64(0)
    for i in range(min(len(row), 32 * len(words))):
        kept[n] = np.int32(i)
        gaps[n] = np.float64(top) - np.float64(row[i])
        n += np.int64((words[i >> 5] >> np.int32(i & 31)) & 1)
    return n


@jit_exact
def _cut(
    kept: NDArray[np.int32],
    gaps: NDArray[np.float64],
    weights: NDArray[np.float64],
    n: int,
    target: float,
    mass: NDArray[np.float64],
) -> Any:
    """Keep the shortest beginning, by (gap, id), whose weights reach the target; returns its size.

    `kept` stays ascending. mass: zeros [NUM_BINS], to work in, and zeros again after.
    """
    last = 0
    for j in range(n):
        last = max(last, _bin(gaps[j]))
        mass[_bin(gaps[j])] += weights[j]
    crossing, reached = 0, 0.0
    while crossing < NUM_BINS - 1 and reached + mass[crossing] < target:
        reached += mass[crossing]
        crossing += 1
    mass[: last + 1] = 0.0
    members = np.empty(n, dtype=np.int64)
    num_members = 0
    for j in range(n):
        if _bin(gaps[j]) == crossing:
            members[num_members] = j
            num_members += 1
    members = members[:num_members]
    last_gap, last_id = -1.0, np.int32(-1)
    for j in members[np.argsort(gaps[members], kind="mergesort")]:
        reached += weights[j]
        last_gap, last_id = gaps[j], kept[j]
        if reached >= target:
            break
    size = np.int64(0)
    for j in range(n):
        stays = gaps[j] < last_gap or (gaps[j] == last_gap and kept[j] <= last_id)
        kept[size], gaps[size] = kept[j], gaps[j]
        size += np.int64(stays)
    return size


@jit_exact
def _bin(gap: float) -> Any:
    return np.int64(min(gap * BINS_PER_NAT, NUM_BINS - 1.0))


@jit_exact
def _draw(
    kept: NDArray[np.int32],
    gaps: NDArray[np.float64],
    n: int,
    heat: float,
    min_p: float,
    key: np.uint64,
) -> Any:
    """Gumbel-max over the kept ids whose weight is at least min_p."""
    # One part in 10^12 of room for rounding: a bound must not rule out what it cannot.
    longest = heat * -math.log(min_p) * (1.0 + 1e-12) + 1e-12 if min_p > 0 else np.inf
    winner, best = np.int32(-1), -np.inf
    for j in range(n):
        bits = _nth(key, np.uint64(kept[j])) >> np.uint64(12)
        u = (np.float64(np.int64(bits)) + 0.5) * 2.0**-52
        log_weight = -gaps[j] / heat
        # -log(u) >= 1 - u >= 2**exponent, so the noise is at most -exponent * ln 2.
        exponent = (np.float64(1.0 - u).view(np.int64) >> 52) - 1023
        if log_weight - np.float64(exponent) * LN2 + 1e-9 < best or gaps[j] > longest:
            continue
        score = log_weight - math.log(-math.log(u))
        if score > best and math.exp(log_weight) >= min_p:
            winner, best = kept[j], score
    return winner


@jit_exact
def _nth(state: np.uint64, index: np.uint64) -> Any:
    return _mix(state + (index + np.uint64(1)) * GOLDEN)


@jit_exact
def _mix(z: np.uint64) -> Any:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
