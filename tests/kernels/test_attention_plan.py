"""How attention is cut into items: all is there once, and what is called shared is."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sestina.kernels.paged_attention import plan as planning
from sestina.kernels.paged_attention.pages import PageArrays
from sestina.kernels.paged_attention.plan import (
    BEGIN,
    BLOCK,
    END,
    FIRST,
    HEAD,
    LAST,
    MANY,
    NUM_HEADS,
    ROW,
    RUN_LEN,
    SEEN,
    SHARED,
    SHORT,
)

ROWS = st.lists(
    st.tuples(
        st.one_of(st.just(1), st.integers(1, 6), st.integers(1, 300)),  # new tokens
        st.integers(0, 3),  # whose prefix it continues
        st.integers(0, 4 * BLOCK),  # tokens of that prefix
        st.integers(0, 100),  # tokens of its own
    ),
    min_size=1,
    max_size=24,
)


def pages(rows: list[tuple[int, int, int, int]]) -> PageArrays:
    """Prefixes lie in slots of their own."""
    longest = max(new + prefix + own for new, _, prefix, own in rows)
    table = np.zeros((len(rows) + 1, longest), np.int32)
    fresh = 10_000
    for row, (new, whose, prefix, own) in enumerate(rows):
        table[row + 1, :prefix] = 1000 * whose + np.arange(prefix)
        table[row + 1, prefix : prefix + own + new] = fresh + np.arange(own + new)
        fresh += own + new
    starts = np.cumsum([0, *(new for new, *_ in rows)])
    lens = [new + prefix + own for new, _, prefix, own in rows]
    numbers = np.arange(1, len(rows) + 1)
    return PageArrays(
        page_table=table,
        table_rows=numbers.astype(np.int32),
        seq_lens=np.array(lens, np.int32),
        query_start=starts.astype(np.int32),
    )


@given(
    rows=ROWS, group=st.integers(1, 6), num_kv_heads=st.integers(1, 4), threads=st.integers(1, 4)
)
def test_every_token_and_head_once_and_shared_keys_are_everybodys(
    rows: list[tuple[int, int, int, int]], group: int, num_kv_heads: int, threads: int
) -> None:
    batch = pages(rows)
    table, starts, lens = batch.page_table, batch.query_start, batch.seq_lens
    runs, items = planning.plan(batch, group, num_kv_heads, threads)
    seen = np.zeros((starts[-1], num_kv_heads), np.int64)
    for item in items:
        members = runs[item[FIRST] : item[LAST]]
        assert len(members)
        assert item[SHARED] % BLOCK == 0
        heads = slice(item[HEAD], item[HEAD] + item[NUM_HEADS])
        for run in members:
            seen[run[BEGIN] : run[END], heads] += 1
            row = run[ROW] - 1
            assert starts[row] <= run[BEGIN] < run[END] <= starts[row + 1]
            assert run[SEEN] == lens[row] - (starts[row + 1] - run[BEGIN]) + 1
            assert item[SHARED] < run[SEEN]
            common = table[run[ROW], : item[SHARED]]
            assert np.array_equal(common, table[members[0][ROW], : item[SHARED]])
        sizes = (members[:, END] - members[:, BEGIN]) * group
        if len(members) > 1:
            assert sizes.max() <= SHORT
            assert (-(-sizes // 3) * 3).sum() <= MANY
        assert (members[:, END] - members[:, BEGIN]).max() <= RUN_LEN
    assert (seen == 1).all()


def test_a_batch_that_shares_a_prefix_reads_it_once_for_many() -> None:
    rows = [(1, 0, 3 * BLOCK + 5, own) for own in range(16)]
    runs, items = planning.plan(pages(rows), 3, 2, 2)
    assert [list(item) for item in items] == [[0, 16, 3 * BLOCK, 0, 1], [0, 16, 3 * BLOCK, 1, 1]]
    assert sorted(runs[:, ROW]) == list(range(1, 17))


def test_interleaved_families_stand_together() -> None:
    rows = [(1, i % 2, 2 * BLOCK, 3) for i in range(10)]
    runs, items = planning.plan(pages(rows), 1, 1, 1)
    assert [(item[LAST] - item[FIRST], item[SHARED]) for item in items] == 2 * [(5, 2 * BLOCK)]
    families = [{(row - 1) % 2 for row in runs[i[FIRST] : i[LAST], ROW]} for i in items]
    assert sorted(map(sorted, families)) == [[0], [1]]
