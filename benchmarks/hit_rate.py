"""How near each scheduling policy comes to the best order: python benchmarks/hit_rate.py

Requests are the leaves of random trees of prompts, and come in random order. The best order is
depth first, one at a time: every edge is computed once (Zheng et al. 2024, theorem 3.1). The pool
holds a part of the tree only, so that the order matters. Prints, per policy, the prompt tokens
found cached as a share of what the best order finds. No clock: the same on every machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from sestina.backend.scheduler.policy import POLICIES

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/lib"))

from support.prompt_trees import Workload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=40)
    parser.add_argument("--share", type=float, default=0.2, help="of the tree that the pool holds")
    args = parser.parse_args()
    print(f"{args.trees} random trees, pool {args.share:.0%} of the tree (or one batch)")
    print(f"{'max_running':>12} {'prompts':>8} {'policy':>8} {'mean':>7} {'worst':>7}")
    for max_running in (1, 4, 16):
        loads = [Workload.random(seed, max_running, args.share) for seed in range(args.trees)]
        num_prompts = sum(len(load.prompts) for load in loads)
        for policy in POLICIES:
            shares = [load.share_of_best(policy) for load in loads]
            print(
                f"{max_running:12} {num_prompts:8} {policy:>8} "
                f"{statistics.mean(shares):7.1%} {min(shares):7.1%}"
            )


if __name__ == "__main__":
    main()
