"""The trie walk in numba. Everything releases the GIL; compiled code is kept on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sestina.kernels.token_mask import Trie

Int32s = NDArray[np.int32]
Bytes = NDArray[np.uint8]


@njit(cache=True, nogil=True)
def build(data: Bytes, offsets: NDArray[np.int64]) -> tuple[Bytes, Int32s, Int32s, Int32s]:
    """Nodes (byte, depth, end) of sorted tokens data[offsets[t]:offsets[t + 1]]; token -> node."""
    num_tokens = len(offsets) - 1
    byte = np.empty(len(data), np.uint8)
    depth = np.empty(len(data), np.int32)
    end = np.empty(len(data), np.int32)
    token_node = np.empty(num_tokens, np.int32)
    longest = 0
    for t in range(num_tokens):
        longest = max(longest, offsets[t + 1] - offsets[t])
    path = np.empty(longest + 1, np.int32)  # the nodes of the token before
    path_len = 0
    count = 0
    for t in range(num_tokens):
        start = offsets[t]
        length = offsets[t + 1] - start
        shared = 0
        while shared < path_len and shared < length and byte[path[shared]] == data[start + shared]:
            shared += 1
        for level in range(shared, path_len):
            end[path[level]] = count
        for level in range(shared, length):
            byte[count] = data[start + level]
            depth[count] = level
            path[level] = count
            count += 1
        path_len = length
        token_node[t] = path[length - 1]
    for level in range(path_len):
        end[path[level]] = count
    return byte[:count].copy(), depth[:count].copy(), end[:count].copy(), token_node


@njit(cache=True, nogil=True)
def allow(token_start: Int32s, token_ids: Int32s, node: int, row: Int32s) -> None:
    """Set the bits of the tokens that end at a node."""
    for t in range(token_start[node], token_start[node + 1]):
        token = token_ids[t]
        row[token >> 5] |= np.int32(1) << np.int32(token & 31)


@njit(cache=True, nogil=True)
def walk(
    byte: Bytes,
    depth: Int32s,
    end: Int32s,
    token_start: Int32s,
    token_ids: Int32s,
    stack: Int32s,
    table: Int32s,
    classes: Bytes,
    nodes: Int32s,
    states: Int32s,
    row: Int32s,
    out_nodes: Int32s,
    out_states: Int32s,
) -> int:
    """See `fill_token_mask`; returns how many places were written to `out_*`.

    stack: [D + 1], scratch; stack[d] is the state before a byte at depth d.
    """
    pending = 0
    for k in range(len(nodes)):
        i = nodes[k]
        stop = end[i]
        stack[depth[i]] = states[k]
        while i < stop:
            level = depth[i]
            before = stack[level]
            after = table[before, classes[byte[i]]]
            if after > 0:
                allow(token_start, token_ids, i, row)
                stack[level + 1] = after
                i += 1
            else:
                if after < 0:
                    out_nodes[pending] = i
                    out_states[pending] = before
                    pending += 1
                i = end[i]
    return pending


def fill(
    trie: Trie, table: Int32s, classes: Bytes, nodes: Int32s, states: Int32s, row: Int32s
) -> tuple[Int32s, Int32s]:
    # Untouched pages of these two cost nothing, so they are made as large as could be needed.
    out_nodes = np.empty(len(trie.byte), np.int32)
    out_states = np.empty(len(trie.byte), np.int32)
    stack = np.empty(trie.max_depth + 1, np.int32)
    count = walk(
        trie.byte,
        trie.depth,
        trie.end,
        trie.token_start,
        trie.token_ids,
        stack,
        table,
        classes,
        nodes,
        states,
        row,
        out_nodes,
        out_states,
    )
    return out_nodes[:count], out_states[:count]
