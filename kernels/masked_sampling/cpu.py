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

from sestina.kernels.numba_jit import exp_f32, jit, jit_exact

if TYPE_CHECKING:
    from sestina.kernels.masked_sampling import RowSettings

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LN2 = math.log(2.0)
MINUS_INF = np.float32(-np.inf)

NUM_BINS = 4096
BINS_PER_NAT = 64.0  # 64 nats in all; what lies further away shares the last bin

# `_key` of +inf and -inf.
KEY_INF = np.int32(0x7F800000)
KEY_MINUS_INF = np.int32(-0x7F800001)


def masked_sample(
    logits: NDArray[np.float32],
    masks: NDArray[np.int32],
    mask_rows: NDArray[np.int32],
    settings: RowSettings,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """ids int32 [B] and removed mass float32 [B]; the contract is in the package docstring."""
    ids = np.empty(len(logits), dtype=np.int32)
    removed_mass = np.empty(len(logits), dtype=np.float32)
    _sample_rows(
        logits,
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
    num_words = (vocab_size + 31) // 32
    everything = np.full(num_words, np.int32(-1), dtype=np.int32)
    kept = np.empty(vocab_size + 1, dtype=np.int32)  # ids; one spare for branch-free appending
    gaps = np.empty(vocab_size + 1, dtype=np.float64)  # distance of each kept id to the best logit
    for b in range(logits.shape[0]):
        row = logits[b]
        top = _largest(row)
        if np.isnan(top):
            ids[b], removed_mass[b] = np.int32(-1), np.float32(np.nan)
            continue
        words = masks[mask_rows[b]] if mask_rows[b] >= 0 else everything
        best = _best(row, words)
        removed_mass[b] = _forbidden_mass(row, words, top) if mask_rows[b] >= 0 else 0.0
        if best < 0 or temperature[b] == 0:
            ids[b] = best
            continue
        heat = np.float64(temperature[b])
        n = _gather(row, words, row[best], kept, gaps)
        if 0 < top_k[b] < n:
            n = _cut(kept, gaps, np.ones(n), n, np.float64(top_k[b]))
        if top_p[b] < 1:
            weights = np.exp(-gaps[:n] / heat)
            n = _cut(kept, gaps, weights, n, np.float64(top_p[b]) * weights.sum())
        key = _nth(_mix(seeds[b]), np.uint64(positions[b]))
        ids[b] = _draw(kept, gaps, n, heat, np.float64(min_p[b]), key)


@jit_exact
def _largest(row: NDArray[np.float32]) -> Any:
    """The largest logit; NaN where one is NaN or +inf."""
    bits = row.view(np.int32)
    low, high = np.int32(KEY_INF), np.int32(KEY_MINUS_INF)
    for i in range(len(bits)):
        key = _key(bits[i])
        low, high = min(low, key), max(high, key)
    if low < KEY_MINUS_INF or high >= KEY_INF:
        return np.float32(np.nan)
    return np.int32(_key(high)).view(np.float32)


@jit_exact
def _key(bits: np.int32) -> Any:
    """The bits of a float32 as an integer of the same order; NaN lies beyond the infinities.

    A maximum of integers vectorises, one of floats does not. Its own inverse.
    """
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@jit_exact
def _best(row: NDArray[np.float32], words: NDArray[np.int32]) -> Any:
    """The allowed id with the largest logit above -inf, the lowest of equals; -1 if none."""
    bits = row.view(np.int32)
    reach = min(len(row), 32 * len(words))
    num_full = reach // 32
    high = np.int32(KEY_MINUS_INF)
    for w in range(num_full):
        if words[w] != 0:
            high = max(high, _best_key(bits, words[w], w * 32, 32))
    if reach % 32:
        high = max(high, _best_key(bits, words[num_full], num_full * 32, reach % 32))
    if high == KEY_MINUS_INF:
        return np.int32(-1)
    top = np.int32(_key(high)).view(np.float32)
    for i in range(reach):
        # As floats, so that 0.0 and -0.0 tie.
        if row[i] == top and (words[i >> 5] >> np.int32(i & 31)) & np.int32(1):
            return np.int32(i)
    return np.int32(-1)


@jit_exact
def _best_key(bits: NDArray[np.int32], word: np.int32, start: int, count: int) -> Any:
    """The largest key one mask word allows. A count known to the compiler makes this vectorise."""
    high = np.int32(KEY_MINUS_INF)
    for j in range(count):
        is_allowed = np.int32(word >> np.int32(j)) & np.int32(1)
        high = max(high, _key(bits[start + j]) if is_allowed else np.int32(KEY_MINUS_INF))
    return high


@jit
def _forbidden_mass(row: NDArray[np.float32], words: NDArray[np.int32], top: np.float32) -> Any:
    """The share of softmax(row) on forbidden ids. `top` is the row's largest logit."""
    if top == MINUS_INF:
        return np.float32(0.0)
    allowed, forbidden = 0.0, 0.0
    num_full = len(row) // 32
    for w in range(num_full + 1):
        word = words[w] if w < len(words) else np.int32(0)
        count = 32 if w < num_full else len(row) % 32
        if count == 32:
            inside, outside = _masses(row, top, word, w * 32, 32)
        else:
            inside, outside = _masses(row, top, word, w * 32, count)
        allowed += np.float64(inside)
        forbidden += np.float64(outside)
    return np.float32(forbidden / (allowed + forbidden))


@jit
def _masses(
    row: NDArray[np.float32], top: np.float32, word: np.int32, start: int, count: int
) -> Any:
    """Weights that one mask word allows and forbids; at most 32, so float32 sums are exact enough.

    The result is a diagnostic: it decides nothing.
    """
    inside, outside = np.float32(0.0), np.float32(0.0)
    for j in range(count):
        weight = exp_f32(row[start + j] - top)
        is_allowed = np.float32((word >> np.int32(j)) & np.int32(1))
        inside += weight * is_allowed
        outside += weight * (np.float32(1.0) - is_allowed)
    return inside, outside


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
) -> Any:
    """Keep the shortest beginning, by (gap, id), whose weights reach the target; returns its size.

    `kept` stays ascending.
    """
    mass = np.zeros(NUM_BINS)
    for j in range(n):
        mass[_bin(gaps[j])] += weights[j]
    crossing, reached = 0, 0.0
    while crossing < NUM_BINS - 1 and reached + mass[crossing] < target:
        reached += mass[crossing]
        crossing += 1
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
