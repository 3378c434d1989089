"""What the trie and its walk mean, in plain Python; tests hold the fast code against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sestina.kernels.token_mask import Program, Trie

from sestina.kernels.token_mask import program as ops

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


def node_paths(trie: Trie, nodes: Int32s) -> list[bytes]:
    """What each of some nodes spells from the root."""
    out = {}
    path = bytearray(trie.max_depth)
    for node in range(len(trie.byte)):
        path[trie.depth[node]] = trie.byte[node]
        out[node] = bytes(path[: trie.depth[node] + 1])
    return [out[node] for node in nodes.tolist()]


def program_tokens(trie: Trie, code: Program, starts: list[int]) -> set[int]:
    """The tokens that `fill_program_mask` allows from the roots."""
    return {
        token
        for token, data in spellings(trie).items()
        if any(_reads(code, e, data, lambda rest: not rest, partly=True) for e in starts)
    }


def program_exits(trie: Trie, code: Program, starts: list[int]) -> set[bytes]:
    """What the nodes spell that `fill_program_mask` names as exits, from the roots."""
    prefixes = {data[:n] for data in spellings(trie).values() for n in range(1, len(data))}
    return {p for p in prefixes if any(_reads(code, e, p, lambda r: not r) for e in starts)}


def _reads(
    code: Program, e: int, data: bytes, then: Callable[[bytes], bool], partly: bool = False
) -> bool:
    """e matches a beginning of data, and `then` takes the rest.

    partly: or all of data is the beginning of a text of e. By back-tracking, so for small
    programs only.
    """
    if partly and not data:
        return True
    op, x, y, z = code.code[e].tolist()
    pool = code.pool

    def go(e: int, data: bytes, then: Callable[[bytes], bool]) -> bool:
        return _reads(code, e, data, then, partly)

    if op == ops.EPSILON:
        return then(data)
    if op == ops.SET:
        inside = bool(data) and pool[x + data[0] // 32] >> (data[0] % 32) & 1
        return bool(inside) and (then(data[1:]) or (partly and len(data) == 1))
    if op == ops.LITERAL:
        text = bytes(pool[x : x + y].tolist())
        if data.startswith(text):
            return then(data[y:])
        return partly and text.startswith(data)
    if op == ops.CAT:
        return go(x, data, lambda rest: go(y, rest, then))
    if op == ops.ALT:
        return any(go(int(part), data, then) for part in pool[x : x + y])
    if op == ops.RULE:
        return go(x, data, then)
    if op == ops.REPEAT:

        def copies(count: int, data: bytes) -> bool:
            if count >= y and then(data):
                return True
            return (z < 0 or count < z) and go(
                x, data, lambda rest: len(rest) < len(data) and copies(count + 1, rest)
            )

        return copies(0, data)
    state = x
    for at in range(len(data) + 1):
        if code.accepting[state] and then(data[at:]):
            return True
        if at == len(data):
            return partly
        state = int(code.table[state, data[at]])
        if state == 0:
            return False
    return False
