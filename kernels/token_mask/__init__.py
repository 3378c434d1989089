"""Which tokens of a vocabulary an automaton allows: one walk of the vocabulary's trie.

Its tables are a byte-class map, dense transitions, and the flat trie with subtree ends. The grammar
engine takes the trie from here and walks it in its own ways (`sestina.backend.grammar.core`); what
it allows is what `fill_token_mask` allows over the rows of its automata.

The trie is flat: its nodes in depth-first order, children before siblings, no node for the root.
Node i stands for one byte after its parent's; its subtree is the nodes [i, end[i]), so skipping a
subtree is one assignment. The tokens whose bytes end at node i are
token_ids[token_start[i] : token_start[i + 1]] (several ids may share their bytes).

A token mask ("token bitmask") is int32 [ceil(V / 32)]: bit i % 32 of word i // 32 is 1 where token
i is allowed. int32 because torch has shifts for no unsigned type of that width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.kernels.token_mask import cpu


class Trie(NamedTuple):
    """N nodes over T tokens, D the longest token's length in bytes."""

    byte: NDArray[np.uint8]  # [N]
    depth: NDArray[np.int32]  # [N] bytes before this node's own
    end: NDArray[np.int32]  # [N] first node after the subtree
    token_start: NDArray[np.int32]  # [N + 1]
    token_ids: NDArray[np.int32]  # [T]
    roots: NDArray[np.int32]  # [at most 256] nodes of depth 0
    max_depth: int  # D


def build_trie(tokens: list[tuple[bytes, int]]) -> Trie:
    """The trie of (bytes, id) pairs; no bytes may be empty. About a second for 151k tokens."""
    ordered = sorted(tokens)
    lengths = np.array([len(data) for data, _ in ordered], np.int64)
    if len(ordered) and not lengths.min():
        raise ValueError("a token without bytes has no place in a trie")
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    joined = np.frombuffer(b"".join(data for data, _ in ordered), np.uint8)
    byte, depth, end, token_node = cpu.build(joined, offsets)
    counts = np.bincount(token_node, minlength=len(byte)).astype(np.int32)
    return Trie(
        byte,
        depth,
        end,
        np.concatenate((np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32))),
        np.array([token_id for _, token_id in ordered], np.int32),
        np.flatnonzero(depth == 0).astype(np.int32),
        int(lengths.max(initial=0)),
    )


def fill_token_mask(
    trie: Trie,
    table: NDArray[np.int32],
    classes: NDArray[np.uint8],
    nodes: NDArray[np.int32],
    states: NDArray[np.int32],
    row: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Allow in `row` every token that the automaton can read from the given places.

    table: int32 [states, classes], 0 the dead state, -1 not expanded yet; C-contiguous.
    classes: uint8 [256], the column of each byte.
    nodes, states: int32 [K] each; the subtree of nodes[k] is entered with states[k], the state
        before the node's own byte. To start, all of trie.roots with the automaton's state.
    row: int32, written in place: bits are only ever set.

    Returns the places (nodes, states) that need rows not in the table. Expand those states, then
    call again with them: no node is visited twice. O(nodes that are reached), about 10 ns each.
    """
    return cpu.fill(trie, table, classes, nodes, states, row)
