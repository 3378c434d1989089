"""Scheduling decisions as pure functions of numbers, so that they can be tested without tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

PolicyName = Literal["program", "prefix", "fcfs"]
"""Who goes first. fcfs: first come, first served. prefix: the longest cached prefix, after SGLang
(Zheng et al. 2024, section 3). program: the program that was served least so far, after Autellix
(Luo et al. 2025, PLAS), and among those the longest cached prefix. A session's priority comes
before all of them."""

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)

MIN_SHARED = 16
"""A wait of one step is worth it from about this many tokens that need not be computed twice."""

SHORT_RUN = 16
"""Up to this many pending tokens count as decoding (a sampled token and what it forces)."""

FAIR_EVERY = 32
"""Every so many admissions the sequence that came first goes, whatever the policy says: one with p
older ones before it is admitted within FAIR_EVERY * (p + 1) admissions."""

LEVEL_TOKENS = 1024
"""Below this many tokens computed for it a program is on level 0; each level above is four times
as wide, so that programs of about the same length are served as the prefix cache likes best."""

MIN_TURN = 128
"""A sequence is not displaced before this many of its tokens were computed."""


Rank = tuple[int, int]


class Candidate(NamedTuple):
    """What a policy knows of a waiting sequence. `order` counts arrivals."""

    priority: int
    level: int
    cached_len: int
    order: int


def rank(priority: int, level: int, name: PolicyName) -> Rank:
    """The class of a program's sequences: those of a smaller one go before all of a greater."""
    return -priority, level if name == "program" else 0


def urgency(candidate: Candidate, name: PolicyName) -> tuple[Rank, int, int]:
    """A sort key: the candidate with the smallest goes first. Total, since no two share `order`.

    >>> short, shared = Candidate(0, 0, 0, order=2), Candidate(0, 3, 600, order=1)
    >>> urgency(short, "program") < urgency(shared, "program")
    True
    >>> urgency(short, "prefix") < urgency(shared, "prefix")
    False
    """
    priority, level, cached_len, order = candidate
    return rank(priority, level, name), 0 if name == "fcfs" else -cached_len, order


def service_level(num_tokens: int) -> int:
    """Which level a program is on that was served so many tokens.

    >>> [service_level(n) for n in (0, 1023, 1024, 4095, 4096, 16384)]
    [0, 0, 1, 1, 2, 3]
    """
    return ((num_tokens // LEVEL_TOKENS).bit_length() + 1) // 2


def is_fair_turn(num_admitted: int) -> bool:
    """Whether the next admission, after so many, goes to whoever came first."""
    return num_admitted % FAIR_EVERY == FAIR_EVERY - 1


def should_wait(shared_len: int, cached_len: int) -> bool:
    """Whether to wait a step because a running prefill computes a prefix that is wanted here too.

    shared_len: tokens in common with the running prefill nearest to it. It publishes them as it
    goes, so the wait is never for longer than that prefill.
    """
    return shared_len >= cached_len + MIN_SHARED


def should_displace(running: Rank, num_computed: int, waiting: Rank) -> bool:
    """Whether a running sequence, after so many tokens in this turn, makes room for a waiting one.

    Short programs must not be stuck behind long ones. One level's difference is not enough: what
    is displaced may have to be computed again.

    >>> should_displace((0, 2), 500, (0, 0)), should_displace((0, 1), 500, (0, 0))
    (True, False)
    >>> should_displace((0, 2), 100, (0, 0)), should_displace((0, 0), 500, (-1, 3))
    (False, True)
    """
    if num_computed < MIN_TURN:
        return False
    if running[0] != waiting[0]:
        return running[0] > waiting[0]
    return running[1] >= waiting[1] + 2


def plan_chunks(
    pending: Sequence[int], budget: int, rank: Callable[[int], Rank] | None = None
) -> list[int]:
    """How many tokens each sequence runs in this step: decodes first, then prefill.

    pending[i] is how many tokens sequence i (oldest first) still has to compute. At most `budget`
    tokens run in all, save that decodes always do. A decode must not wait behind a long prefill,
    which only gets what decodes leave; that is never less than an eighth. Prefills go by ascending
    `rank(i)` (None: all equal), then by age; but the oldest always gets a quarter of their share,
    so that it ends however many others come.

    >>> plan_chunks([1000, 1, 300, 3], budget=512)
    [508, 1, 0, 3]
    >>> plan_chunks([1000, 1, 300, 3], budget=512, rank=lambda i: (0, 1 if i == 0 else 0))
    [208, 1, 300, 3]
    """
    chunks = [n if n <= SHORT_RUN else 0 for n in pending]
    prefills = [i for i, n in enumerate(pending) if n > SHORT_RUN]
    if not prefills:
        return chunks
    left = max(budget - sum(chunks), budget // 8, 1)
    oldest = prefills[0]
    if rank is not None and len(prefills) > 1:
        prefills.sort(key=rank)  # stable: by age among equals
    reserved = min(pending[oldest], max(left // 4, 1))
    left -= reserved
    chunks[oldest] = reserved
    for i in prefills:
        more = min(pending[i] - chunks[i], left)
        chunks[i] += more
        left -= more
    return chunks


PASS_ROWS = 8.0
"""What a pass costs besides its rows, in guesses: their rows, masks and draws. With 24 there are
fewer passes, and it takes no less time (docs/numbers.md)."""


def draft_room(num_tokens: int, num_running: int, budget: int) -> int:
    """How many drafted tokens each running sequence may have computed in this step.

    They get what the step's chunks, of so many tokens, leave of its budget.

    >>> draft_room(5, num_running=3, budget=25)
    6
    """
    return max(0, (budget - num_tokens) // max(1, num_running))


def worthwhile_odds(num_running: int) -> float:
    """The chance to be of use from which a guess is worth its row beside so many sequences.

    A guess costs a row of the pass. One that is right saves its sequence a row of a later pass and
    its share of that pass.

    >>> worthwhile_odds(1) < 0.2, worthwhile_odds(64) > 0.8
    (True, True)
    """
    return num_running / (num_running + PASS_ROWS)
