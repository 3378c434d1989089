"""How a batch's attention is cut into items, which threads share out.

A run is new tokens of one row; an item is runs and KV heads. Long runs are cut, and each of their
heads is an item. Short runs (decodes) whose rows begin with the same slots become one item, whose
common keys and values are then read and laid out once for all of them (Juravsky et al.,
"Hydragen", 2024; Zhu et al., "RelayAttention", 2024).
"""

from __future__ import annotations

import numpy as np

from sestina.kernels.numba_jit import jit
from sestina.kernels.paged_attention.pages import Ints, PageArrays

BLOCK = 64
"""Keys that are laid out at a time; common prefixes count in these."""

RUN_LEN = 128
"""Most new tokens of a run: long prefills are shared, and their sums stay in a core's cache."""

SHORT, MANY = 16, 48
"""Rows (new tokens times query heads of a KV head) of the longest run that shares an item with
others, and of all runs of an item together, each counted in threes."""

ROW, BEGIN, END, SEEN = range(4)
"""Of a run: row of the page table, first new token, end, keys that the first one sees."""

FIRST, LAST, SHARED, HEAD, NUM_HEADS = range(5)
"""Of an item: first run, end, keys that all its tokens see in the same slots (a multiple of BLOCK),
first KV head, number of KV heads."""


def plan(pages: PageArrays, group: int, num_kv_heads: int, num_threads: int) -> tuple[Ints, Ints]:
    """Runs int32 [A, 4] and items int32 [I, 5] of the rows of a batch.

    What is computed does not depend on it: see `lanes.attend`. Reads the common prefixes once.
    """
    counts = -(-np.diff(pages.query_start) // RUN_LEN)
    runs = np.empty((int(counts.sum()), 4), np.int32)
    items = np.empty((len(runs) * num_kv_heads, 5), np.int32)
    num_items = _plan(pages, group, num_kv_heads, num_threads, runs, items)
    return runs, items[:num_items]


@jit
def _plan(
    pages: PageArrays, group: int, num_kv_heads: int, num_threads: int, runs: Ints, items: Ints
) -> int:
    """Fill `runs`, and as many of `items` as it returns; long runs first, as they take longest."""
    page_table, query_start = pages.page_table, pages.query_start
    num_runs = 0
    for b in range(pages.seq_lens.shape[0]):
        if (query_start[b + 1] - query_start[b]) * group > SHORT:
            num_runs = _cut(pages, b, runs, num_runs)
    num_items = 0
    for run in range(num_runs):
        num_items = _add_item(items, num_items, run, run + 1, 0, num_kv_heads, False)
    num_long = num_runs
    for b in range(pages.seq_lens.shape[0]):
        if (query_start[b + 1] - query_start[b]) * group <= SHORT:
            num_runs = _cut(pages, b, runs, num_runs)
            _sink(page_table, runs, num_long, num_runs - 1)
    firsts = np.empty(num_runs - num_long + 1, np.int32)  # of each group of short runs
    shared = np.empty(num_runs - num_long + 1, np.int32)
    num_groups = _group(page_table, group, runs, num_long, num_runs, firsts, shared)
    firsts[num_groups] = num_runs
    together = num_groups >= 4 * num_threads  # enough to share out: each key is read in one piece
    for g in range(num_groups):
        num_items = _add_item(
            items, num_items, firsts[g], firsts[g + 1], shared[g], num_kv_heads, together
        )
    return num_items


@jit
def _cut(pages: PageArrays, b: int, runs: Ints, num_runs: int) -> int:
    """Add the runs of row b."""
    first, end = pages.query_start[b], pages.query_start[b + 1]
    for begin in range(first, end, RUN_LEN):
        run = runs[num_runs]
        run[ROW], run[BEGIN], run[END] = pages.table_rows[b], begin, min(begin + RUN_LEN, end)
        run[SEEN] = pages.seq_lens[b] - (end - begin) + 1
        num_runs += 1
    return num_runs


@jit
def _add_item(
    items: Ints,
    num_items: int,
    first: int,
    last: int,
    shared: int,
    num_kv_heads: int,
    together: bool,
) -> int:
    """Add an item of all heads, or one of each head."""
    step = num_kv_heads if together else 1
    for head in range(0, num_kv_heads, step):
        item = items[num_items]
        item[FIRST], item[LAST], item[SHARED] = first, last, shared
        item[HEAD], item[NUM_HEADS] = head, step
        num_items += 1
    return num_items


@jit
def _sink(page_table: Ints, runs: Ints, first: int, last: int) -> None:
    """Bring the last run to its place in the order of slots; those before are in it already.

    Rows come oldest first, so siblings mostly stand together and it goes nowhere.
    """
    place = last
    while place > first and _comes_before(page_table, runs[last], runs[place - 1]):
        place -= 1
    if place < last:
        run = runs[last].copy()
        for at in range(last, place, -1):
            runs[at] = runs[at - 1]
        runs[place] = run


@jit
def _comes_before(page_table: Ints, a: Ints, b: Ints) -> bool:
    """By the slots that end each whole block of keys: equal prefixes come to stand together."""
    whole = min(a[SEEN] - 1, b[SEEN] - 1) // BLOCK
    for at in range(BLOCK - 1, whole * BLOCK, BLOCK):
        x, y = page_table[a[ROW], at], page_table[b[ROW], at]
        if x != y:
            return bool(x < y)
    return bool(a[SEEN] < b[SEEN])


@jit
def _group(
    page_table: Ints, group: int, runs: Ints, first: int, last: int, firsts: Ints, shared: Ints
) -> int:
    """Neighbours become one group while that saves more reading than to begin another."""
    num_groups, num_rows, size = 0, 0, 0
    for run in range(first, last):
        rows = ((runs[run, END] - runs[run, BEGIN]) * group + 2) // 3 * 3
        if num_groups and num_rows + rows <= MANY:
            common = _common(page_table, runs[run - 1], runs[run])
            if size > 1:
                common = min(common, shared[num_groups - 1])
            if size * common > (size - 1) * shared[num_groups - 1]:
                shared[num_groups - 1] = common
                num_rows, size = num_rows + rows, size + 1
                continue
        firsts[num_groups], shared[num_groups] = run, 0
        num_groups, num_rows, size = num_groups + 1, rows, 1
    return num_groups


@jit
def _common(page_table: Ints, a: Ints, b: Ints) -> int:
    """Keys in whole blocks that all tokens of two runs see in the same slots."""
    whole = min(a[SEEN] - 1, b[SEEN] - 1) // BLOCK * BLOCK
    for start in range(0, whole, BLOCK):
        num_equal = 0
        for at in range(start, start + BLOCK):
            num_equal += page_table[a[ROW], at] == page_table[b[ROW], at]
        if num_equal < BLOCK:
            return start
    return int(whole)
