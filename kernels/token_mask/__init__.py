"""Which tokens of a vocabulary a grammar allows: one walk of the vocabulary's trie.

`fill_token_mask` walks it with the states of an automaton, `fill_program_mask` with the places of a
grammar's program, of which no automaton need be made: slower by the node, but there is nothing to
prepare, so it is the better one where few tokens are allowed.

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

from sestina.kernels.token_mask import cpu, program


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


def fill_component_mask(
    trie: Trie,
    table: NDArray[np.int32],
    accepting: NDArray[np.uint8],
    state: int,
    row: NDArray[np.int32],
) -> NDArray[np.int32] | None:
    """`fill_token_mask` from the roots, for a language that others follow.

    table: int32 [states, 256], one class a byte. accepting: uint8 [states].
    Returns the entry nodes: below each is a token that `row` lacks, and what the node's ancestors
    spell is a text of the language, so that whatever follows it enters here. None if the table
    lacks rows; then `row` is not complete. O(nodes that are reached), about 10 ns each.
    """
    entries, complete = cpu.walk_component(*trie[:5], trie.max_depth, table, accepting, state, row)
    return entries if complete else None


def fill_component_difference(
    trie: Trie,
    table: NDArray[np.int32],
    accepting: NDArray[np.uint8],
    state: int,
    base: int,
    row: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Turn the component mask of state `base` into that of `state`, walking where they differ.

    row: the mask of `base`, changed in place.
    Returns (gone, new, unknown). Of the entry nodes of `base`, those in `gone` (sorted) are none
    any more; those in `new` are, though perhaps with no token below that `row` lacks. unknown:
    states whose rows the table lacks; expand them and begin again with a fresh `row`.
    O(nodes that are reached before the two come to the same state).
    """
    unknown = np.empty(256, np.int32)
    gone, new, num_unknown = cpu.walk_difference(
        *trie[:5], trie.max_depth, table, accepting, state, base, row, unknown
    )
    return gone, new, unknown[:num_unknown]


class Program(NamedTuple):
    """Expressions over bytes, as the walk reads them; the operations are constants of `program`.

    Expression e is row e of `code`: its operation and three numbers.
        NOTHING, EPSILON  no text; the empty text
        SET(x)            one byte of the set pool[x : x + 8], 32 bytes a word
        LITERAL(x, n)     the bytes pool[x : x + n], n at least 1
        CAT(e, f)         e, then f
        ALT(x, n)         any of the expressions pool[x : x + n]
        STATE(s)          what the automaton (table, accepting) reads from state s to acceptance
        REPEAT(e, lo, hi) lo to hi copies of e, hi -1 for no bound; lo 0 where e may be empty
        RULE(e)           e; this is how expressions may contain themselves, but not at their start
    Every expression that is used must match some text, or tokens would be allowed that lead
    nowhere.
    """

    code: NDArray[np.int32]  # [E, 4]
    pool: NDArray[np.int32]
    table: NDArray[np.int32]  # [states, 256], as for fill_token_mask with one class a byte
    accepting: NDArray[np.uint8]  # [states]


def fill_program_mask(
    trie: Trie,
    code: Program,
    nodes: NDArray[np.int32],
    starts: NDArray[np.int32],
    row: NDArray[np.int32],
    *,
    with_exits: bool = False,
) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
    """Allow in `row` every token that some text of the expressions `starts` begins with.

    nodes: the subtrees to walk, each entered with the expressions before its own byte.
    Returns (exits, unknown). exits, if asked for: the nodes with children where a whole text of
    `starts` ends. unknown: states whose rows the walk lacked; expand them and call again, for the
    tokens beyond were left out. None if the walk outgrew its room; what `row` has is right, though
    perhaps not all. O(nodes that are reached * threads), about 100 ns each.
    """
    exits = np.empty(len(trie.byte) if with_exits else 0, np.int32)
    unknown = np.empty(256, np.int32)
    num_exits, num_unknown = program.walk(
        trie.byte,
        trie.depth,
        trie.end,
        trie.token_start,
        trie.token_ids,
        trie.max_depth,
        *code,
        nodes,
        starts,
        row,
        exits,
        unknown,
    )
    return None if num_exits < 0 else (exits[:num_exits], unknown[:num_unknown])


def entry_nodes(trie: Trie, exits: NDArray[np.int32], row: NDArray[np.int32]) -> NDArray[np.int32]:
    """The children of `exits` with a token below that `row` does not allow. O(N)."""
    return program.entries(trie.end, trie.token_start, trie.token_ids, exits, row)


def find_node(trie: Trie, data: bytes) -> int:
    """The node that spells `data` from the root, or -1. O(len(data) * siblings)."""
    return int(cpu.find(trie.byte, trie.end, np.frombuffer(data, np.uint8)))


def child_nodes(trie: Trie, node: int) -> NDArray[np.int32]:
    """The direct children of a node, in the order of their bytes."""
    children = []
    child = node + 1
    while child < trie.end[node]:
        children.append(child)
        child = int(trie.end[child])
    return np.array(children, np.int32)
