"""Sequences sorted by their tokens, so that those that share most lie side by side."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sestina.backend.cache.radix_node import ID_BYTES, common_prefix_len
from sestina.backend.scheduler.sequence import Sequence

Key = tuple[str, bytes, int]
"""(namespace, the memory of int32 tokens, order): unique, and grouped by common prefix."""


class PrefixIndex:
    """A sorted list of keys. In such an order the longest common prefix with any other is with one
    of the two neighbours, so one bisection finds it: O(log n) comparisons of memory."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._sequences: list[Sequence] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, sequence: Sequence, num_tokens: int) -> Key:
        """Put in a sequence, by its first `num_tokens`; keep the key to take it out again."""
        key = _key(sequence.namespace, sequence.tokens[:num_tokens], sequence.order)
        at = bisect.bisect_left(self._keys, key)
        self._keys.insert(at, key)
        self._sequences.insert(at, sequence)
        return key

    def remove(self, key: Key) -> None:
        at = bisect.bisect_left(self._keys, key)
        del self._keys[at], self._sequences[at]

    def neighbours(self, namespace: str, tokens: NDArray[np.int32]) -> Iterator[Sequence]:
        """The one or two that share most with int32 `tokens` in this namespace."""
        at = bisect.bisect_left(self._keys, _key(namespace, tokens, -1))
        for i in (at - 1, at):
            if 0 <= i < len(self._keys) and self._keys[i][0] == namespace:
                yield self._sequences[i]

    def shared_len(self, namespace: str, tokens: NDArray[np.int32]) -> int:
        """The longest prefix in common with any sequence of the namespace."""
        at = bisect.bisect_left(self._keys, _key(namespace, tokens, -1))
        near = (self._keys[i] for i in (at - 1, at) if 0 <= i < len(self._keys))
        return max(
            (
                common_prefix_len(tokens, np.frombuffer(ids, np.int32))
                for name, ids, _ in near
                if name == namespace
            ),
            default=0,
        )


def _key(namespace: str, tokens: NDArray[np.int32], order: int) -> Key:
    assert tokens.itemsize == ID_BYTES
    return namespace, tokens.tobytes(), order
