"""What the trie and its walk mean, in plain Python; tests hold the fast code against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sestina.kernels.token_mask import Trie

Int32s = NDArray[np.int32]


def fill(
    trie: Trie,
    table: Int32s,
    classes: NDArray[np.uint8],
    nodes: Int32s,
    states: Int32s,
    row: Int32s,
) -> tuple[Int32s, Int32s]:
    """See `fill_token_mask`."""
    bits = row.view(np.uint32)
    pending: list[tuple[int, int]] = []

    def enter(node: int, before: int) -> None:
        after = int(table[before, classes[trie.byte[node]]])
        if after < 0:
            pending.append((node, before))
        if after <= 0:
            return
        for token in trie.token_ids[trie.token_start[node] : trie.token_start[node + 1]].tolist():
            bits[token // 32] |= np.uint32(1 << (token % 32))
        child = node + 1
        while child < trie.end[node]:
            enter(child, after)
            child = int(trie.end[child])

    for node, before in zip(nodes.tolist(), states.tolist(), strict=True):
        enter(node, before)
    places = np.array(pending, np.int32).reshape(-1, 2)
    return places[:, 0].copy(), places[:, 1].copy()


def spellings(trie: Trie) -> dict[int, bytes]:
    """The bytes of every token, read back from the trie."""
    out: dict[int, bytes] = {}
    path = bytearray(trie.max_depth)
    for node in range(len(trie.byte)):
        path[trie.depth[node]] = trie.byte[node]
        for token in trie.token_ids[trie.token_start[node] : trie.token_start[node + 1]].tolist():
            out[token] = bytes(path[: trie.depth[node] + 1])
    return out
