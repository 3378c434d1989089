"""Scheduling decisions as pure functions of numbers, so that they can be tested without tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_SHARED = 16
"""A wait of one step is worth it from about this many tokens that need not be computed twice."""


SHORT_RUN = 16
"""Up to this many pending tokens count as decoding (a sampled token and what it forces)."""


def common_prefix_len(a: NDArray[np.int32], b: NDArray[np.int32]) -> int:
    """How many leading tokens two sequences share.

    >>> common_prefix_len(np.array([1, 2, 3], np.int32), np.array([1, 2, 4, 5], np.int32))
    2
    """
    n = min(len(a), len(b))
    differs = np.flatnonzero(a[:n] != b[:n])
    return int(differs[0]) if len(differs) else n


def should_wait(
    tokens: NDArray[np.int32], cached_len: int, prefilling: Sequence[NDArray[np.int32]]
) -> bool:
    """Whether a running prefill is about to compute a prefix that this sequence also needs.

    `prefilling` are the tokens that admitted sequences will have computed when their prefill ends.
    They publish it as they go, so waiting is never for longer than that prefill.
    """
    return any(common_prefix_len(tokens, other) >= cached_len + MIN_SHARED for other in prefilling)


def plan_chunks(pending: Sequence[int], budget: int) -> list[int]:
    """How many tokens each sequence runs in this step: decodes first, then prefill, in order.

    pending[i] is how many tokens sequence i (oldest first) still has to compute. At most `budget`
    tokens run in all. A decode must not wait behind a long prefill, which only gets what decodes
    leave.

    >>> plan_chunks([1000, 1, 300, 3], budget=512)
    [508, 1, 0, 3]
    """
    chunks = [n if n <= SHORT_RUN else 0 for n in pending]
    left = max(budget - sum(chunks), budget // 8, 1)
    for i, n in enumerate(pending):
        if n > SHORT_RUN:
            chunks[i] = min(n, left)
            left -= chunks[i]
    return chunks
