"""The meaning of masked sampling in plain numpy, float64, one full sort per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sestina.kernels.masked_sampling import RowSettings

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def masked_sample(
    logits: NDArray[np.float32],
    masks: NDArray[np.int32],
    mask_rows: NDArray[np.int32],
    settings: RowSettings,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """ids int32 [B] and removed mass float32 [B]; the contract is in the package docstring."""
    num_rows, vocab_size = logits.shape
    ids = np.empty(num_rows, dtype=np.int32)
    removed_mass = np.zeros(num_rows, dtype=np.float32)
    for b in range(num_rows):
        row = logits[b].astype(np.float64)  # [V]
        if np.isnan(row).any() or (row == np.inf).any():
            ids[b], removed_mass[b] = -1, np.nan
            continue
        allowed = np.ones(vocab_size, dtype=np.bool_)
        if mask_rows[b] >= 0:
            allowed = unpack(masks[mask_rows[b]], vocab_size)
            weights = np.exp(row - row.max()) if row.max() > -np.inf else np.zeros(vocab_size)
            removed_mass[b] = weights[~allowed].sum() / max(weights.sum(), 1e-300)
        ids[b] = draw(row, np.flatnonzero(allowed & (row > -np.inf)), settings, b)
    return ids, removed_mass


def unpack(words: NDArray[np.int32], vocab_size: int) -> NDArray[np.bool_]:
    """A packed mask row as bool [V]; ids beyond it are forbidden."""
    bits = ((words[:, None] >> np.arange(32, dtype=np.int32)) & 1).astype(np.bool_).ravel()
    allowed = np.zeros(vocab_size, dtype=np.bool_)
    allowed[: len(bits)] = bits[:vocab_size]
    return allowed


def draw(row: NDArray[np.float64], ids: NDArray[Any], settings: RowSettings, b: int) -> int:
    """One of `ids`, ascending and with finite logits; -1 if there are none."""
    if not len(ids):
        return -1
    ids = ids[np.argsort(-row[ids], kind="stable")]  # best first, equal ones by id
    temperature = np.float64(settings.temperature[b])
    if temperature == 0:
        return int(ids[0])
    log_weights = (row[ids] - row[ids[0]]) / temperature
    if settings.top_k[b] > 0:
        ids, log_weights = ids[: settings.top_k[b]], log_weights[: settings.top_k[b]]
    weights = np.exp(log_weights)
    if settings.top_p[b] < 1:
        mass = weights.cumsum()
        is_enough = mass >= np.float64(settings.top_p[b]) * mass[-1]
        ids = ids[: int(is_enough.argmax()) + 1]
    ids = ids[weights[: len(ids)] >= np.float64(settings.min_p[b])]
    noise = gumbel(settings.seeds[b : b + 1], settings.positions[b : b + 1], ids)
    return int(ids[np.argmax(log_weights[: len(ids)] + noise)])


def gumbel(
    seeds: NDArray[np.uint64], positions: NDArray[np.int64], ids: NDArray[Any]
) -> NDArray[np.float64]:
    """The noise of each (seed, position, id), broadcast."""
    key = nth(mix(seeds), positions.astype(np.uint64))
    bits = nth(key, ids.astype(np.uint64))
    u = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52
    noise: NDArray[np.float64] = -np.log(-np.log(u))
    return noise


def nth(state: NDArray[np.uint64], index: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Output number `index` of SplitMix64 seeded by `state`."""
    return mix(state + (index + np.uint64(1)) * GOLDEN)


def mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
