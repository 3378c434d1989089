"""Where things lie in the scratch of one thread, a float32 array that `attend` works in.

    keys, values        a block of one KV head: words [words of a key, BLOCK], [BLOCK, D]
    scores, weights     [TILE, BLOCK] of the tile of rows that passes over the block

and of each KV head of the item, for all its rows (runs, in each tokens, in each query heads):

    tops                the largest score so far
    sums                [rows, 16]: sums of weights, in lanes
    queries             [rows, words of a key]
    mixed               [rows, D]: weighted sums of values

D is rounded up to 16; a row of queries has as much room as one of `mixed`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sestina.kernels import amx
from sestina.kernels.numba_jit import jit_exact
from sestina.kernels.paged_attention.plan import BLOCK, MANY, RUN_LEN

TILE = 16
"""Rows of a tile by AMX; without it a tile has 12, and products take multiples of 3."""

HEADER = 16
TILES = np.float32(0x414D58)
"""In the first number of a scratch: this process may use AMX."""


def scratch_len(group: int, num_kv_heads: int, head_dim: int) -> int:
    """float32 numbers that `attend` needs for any item of `plan`."""
    head = max(
        int(state_places(0, max(pad(rows, True), pad(rows, False)), head_dim)[-1]) * heads
        for rows, heads in ((RUN_LEN * group, 1), (MANY, num_kv_heads))
    )
    return 16 + int(block_places(head_dim)[-1]) + head


def prepare(scratch: NDArray[np.float32]) -> None:
    """Once, before a scratch is first used: note whether this process may use AMX.

    Without it bfloat16 products take the slower instruction, if the scratch begins with a 0.
    """
    scratch[0] = TILES if amx.allowed() else np.float32(0.0)


@jit_exact
def pad(num_rows: int, tiles: bool) -> int:
    """Rows that a run takes up: no tile of another run reaches into it."""
    if not tiles:
        return (num_rows + 2) // 3 * 3
    return num_rows if num_rows <= TILE else (num_rows + TILE - 1) // TILE * TILE


@jit_exact
def widths(head_dim: int, bf16: bool) -> tuple[int, int]:
    """Words of a query or key, a multiple of 16, and float32 of a value, the same."""
    lines = (head_dim + 15) // 16
    return ((lines + 1) // 2 if bf16 else lines) * 16, lines * 16


@jit_exact
def block_places(head_dim: int) -> tuple[int, int, int, int, int]:
    """keys, values, scores, weights; where the first head's state begins."""
    width = (head_dim + 31) // 32 * 32
    values = HEADER + width * BLOCK
    scores = values + BLOCK * width
    weights = scores + TILE * BLOCK
    return HEADER, values, scores, weights, weights + TILE * BLOCK


@jit_exact
def state_places(state: int, num_rows: int, head_dim: int) -> tuple[int, int, int, int, int]:
    """tops, sums, queries, mixed, end of a state that begins at `state`."""
    rows = (num_rows + TILE - 1) // TILE * TILE  # whole tiles of either height
    width = (head_dim + 31) // 32 * 32
    sums = state + rows
    queries = sums + 16 * rows
    mixed = queries + rows * width
    return state, sums, queries, mixed, mixed + rows * width
