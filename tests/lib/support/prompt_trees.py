"""Random trees of prompts, and how near a scheduling policy comes to the best order on them."""

from __future__ import annotations

import random
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

from support.requests import VOCAB_SIZE, Request, run, scripted_scheduler

from sestina.backend.scheduler.policy import PolicyName

Prompt = tuple[int, ...]

MAX_NEW_TOKENS = 32


def random_prompts(rng: random.Random) -> list[Prompt]:
    """Root-to-leaf paths of a random tree, shuffled; edges have 8 to 256 tokens."""
    leaves: list[Prompt] = []
    depth = rng.randint(2, 5)

    def grow(path: Prompt, level: int) -> None:
        num_children = rng.choice([0, 1, 2, 3, 4, 6])
        if level == depth or (level > 1 and not num_children):
            leaves.append(path)
            return
        for first in rng.sample(range(VOCAB_SIZE), max(num_children, 2)):
            edge = rng.choices(range(VOCAB_SIZE), k=int(8 * 2 ** rng.uniform(0, 5)))
            grow((*path, first, *edge), level + 1)

    grow((), 0)
    rng.shuffle(leaves)
    return leaves


def num_distinct(prompts: SequenceOf[Prompt]) -> int:
    """Tokens of the tree: what any order has to compute, and depth first computes no more."""
    total = 0
    last: Prompt = ()
    for prompt in sorted(prompts):
        pairs = zip(prompt, last, strict=False)
        total += len(prompt) - next(
            (i for i, (a, b) in enumerate(pairs) if a != b), min(len(prompt), len(last))
        )
        last = prompt
    return total


@dataclass(frozen=True)
class Workload:
    """All prompts of a tree, there from the start; a pool that holds a share of the tree."""

    prompts: list[Prompt]
    pool: int
    max_running: int
    seed: int

    @classmethod
    def random(cls, seed: int, max_running: int, share: float) -> Workload:
        """`share` of the tree fits into the pool, or one batch of its longest prompts."""
        prompts = random_prompts(random.Random(seed))
        batch = (max(map(len, prompts)) + MAX_NEW_TOKENS) * max_running
        return cls(prompts, max(int(share * num_distinct(prompts)), batch), max_running, seed)

    def share_of_best(self, policy: PolicyName, *, is_depth_first: bool = False) -> float:
        """Prompt tokens that the policy finds cached, over what the best order finds."""
        rng = random.Random(self.seed)
        scheduler = scripted_scheduler(self.pool, self.max_running, policy=policy)
        prompts = sorted(self.prompts) if is_depth_first else self.prompts
        requests = [Request(scheduler, p, rng.randint(1, MAX_NEW_TOKENS)) for p in prompts]
        run(scheduler, requests)
        total = sum(map(len, prompts))
        computed = sum(request.counters.prefilled for request in requests)
        return (total - computed) / (total - num_distinct(prompts))
