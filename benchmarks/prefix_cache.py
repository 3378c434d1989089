"""What the prefix cache costs: python benchmarks/prefix_cache.py [--sequences 10000]

Match and insert of a prompt of 1,000 tokens in a tree that holds many sequences, which share 50
prefixes of 500 tokens. Microseconds, median (and minimum) of 300 prompts.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from numpy.typing import NDArray

from sestina.backend.cache import PagePool, RadixTree

PROMPT_LEN = 1000
NUM_PREFIXES = 50
NUM_PROMPTS = 300


def compute(
    pool: PagePool, tree: RadixTree, tokens: NDArray[np.int32]
) -> tuple[float, float, float]:
    """Seconds of `cached_len`, `match` and `insert`, as for a sequence that is then computed."""
    times = [time.perf_counter()]
    tree.cached_len(tokens)
    times.append(time.perf_counter())
    match = tree.match(tokens)
    times.append(time.perf_counter())
    lock = tree.lock(match.node)
    fresh = pool.allocate(len(tokens) - match.length)
    assert fresh is not None
    slots = np.concatenate([match.slots, fresh])
    started = time.perf_counter()
    tree.insert(tokens, slots, match.length)
    insert_s = time.perf_counter() - started
    lock.release()
    return times[1] - times[0], times[2] - times[1], insert_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=10_000)
    args = parser.parse_args()
    rng = np.random.default_rng(0)

    def draw(num_tokens: int) -> NDArray[np.int32]:
        return rng.integers(0, 50_000, num_tokens, dtype=np.int32)

    prefixes = [draw(500) for _ in range(NUM_PREFIXES)]
    pool = PagePool(40 * args.sequences + PROMPT_LEN * NUM_PROMPTS + 500 * NUM_PREFIXES)
    tree = RadixTree(pool)
    for i in range(args.sequences):
        compute(pool, tree, np.concatenate([prefixes[i % NUM_PREFIXES], draw(40)]))
    print(f"{args.sequences} sequences, {tree.num_cached} tokens cached")
    print(f"{'cached of 1,000':>16} {'cached_len':>16} {'match':>16} {'insert':>16}")
    for share in (0.0, 0.5, 1.0):
        rows = []
        for i in range(NUM_PROMPTS):
            tokens = np.concatenate([prefixes[i % NUM_PREFIXES], draw(500)])
            if share == 0.0:
                tokens = draw(PROMPT_LEN)
            if share == 1.0:
                compute(pool, tree, tokens)
            rows.append(compute(pool, tree, tokens))
            tree.evict(PROMPT_LEN if share == 0.0 else 500)
        figures = [
            f"{1e6 * statistics.median(column):9.1f} ({1e6 * min(column):4.1f})"
            for column in zip(*rows, strict=True)
        ]
        print(f"{int(share * PROMPT_LEN):16} " + " ".join(f"{f:>16}" for f in figures))


if __name__ == "__main__":
    main()
