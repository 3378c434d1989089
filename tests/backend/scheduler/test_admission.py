"""Who joins the batch: nobody starves, short programs pass long ones, shared prefixes together."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzz import tries
from support.prompt_trees import Workload
from support.requests import VOCAB_SIZE, Request, run, scripted_scheduler

from sestina.backend.scheduler.admission import DISPLACE_EVERY
from sestina.backend.scheduler.policy import FAIR_EVERY, MIN_TURN, POLICIES, PolicyName
from sestina.backend.scheduler.scheduler import Scheduler
from sestina.backend.scheduler.sequence import Account, Sequence

policies = st.sampled_from(POLICIES)


def record_admissions(scheduler: Scheduler) -> list[Sequence]:
    """Every sequence that joins the batch, in order."""
    admitted: list[Sequence] = []
    start = scheduler.admission.start

    def recording(sequence: Sequence) -> None:
        start(sequence)
        admitted.append(sequence)

    scheduler.admission.start = recording  # type: ignore[method-assign]
    return admitted


@tries(6)
@given(policies, st.sampled_from([200, 2000]), st.integers(1, 4), st.randoms())
def test_nobody_is_overtaken_more_often_than_stated(
    policy: PolicyName, pool: int, max_running: int, rng: st.random.Random
) -> None:
    """Of FAIR_EVERY admissions while a sequence waits, one was of an older sequence.

    Newcomers are chosen to go first under every policy: higher priority, newer programs, a prompt
    that is cached. With a small pool, sequences are preempted and come again.
    """
    scheduler = scripted_scheduler(pool, max_running, max_batch_tokens=64, policy=policy)
    admitted = record_admissions(scheduler)
    old = [
        Request(scheduler, [9, *rng.choices(range(8), k=40)], 3, Account(service=5000))
        for _ in range(5)
    ]
    since: dict[Sequence, int] = {}
    for request in old:
        request.start()
        since[request.sequence] = len(admitted)
    for _ in range(200):
        newcomer = Request(scheduler, [*[7] * 30, rng.randrange(8)], 1, Account(rng.randint(0, 1)))
        newcomer.start()
        since[newcomer.sequence] = len(admitted)
        scheduler.step()
        scheduler.check_totals()
        for waiting in list(since):
            meanwhile = admitted[since[waiting] :]
            if waiting in meanwhile:
                meanwhile = meanwhile[: meanwhile.index(waiting)]
                del since[waiting]
            num_older = sum(other.order < waiting.order for other in meanwhile)
            assert len(meanwhile) < FAIR_EVERY * (num_older + 1)
    while scheduler.step():
        pass
    assert all(request.is_done for request in old)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_short_program_is_not_stuck_behind_long_ones(policy: PolicyName) -> None:
    """The batch and the queue are full of a long program's branches; then a short program comes."""
    scheduler = scripted_scheduler(20_000, 4, policy=policy)
    long = Account()
    for i in range(12):
        Request(scheduler, [i, 1, 2], 1500, long).start()
    while long.level < 2:
        scheduler.step()
    short = Request(scheduler, [33, 2, 1], 5)
    short.start()
    for _ in range(MIN_TURN + DISPLACE_EVERY + 5):
        scheduler.step()
    assert short.is_done == (policy == "program")


def test_a_long_prefill_does_not_hold_up_a_short_one() -> None:
    scheduler = scripted_scheduler(10_000, 4, max_batch_tokens=64)
    long = Request(scheduler, [1, 2] * 2000)
    long.start()
    while long.account.level == 0:
        scheduler.step()
    short = Request(scheduler, [3] * 60)
    short.start()
    scheduler.step()
    assert not short.is_done
    scheduler.step()
    assert short.is_done


def test_a_priority_goes_first() -> None:
    scheduler = scripted_scheduler(1000, 1)
    admitted = record_admissions(scheduler)
    requests = [Request(scheduler, [i], 2, Account(priority=p)) for i, p in enumerate([0, -1, 5])]
    run(scheduler, requests)
    wanted = [requests[i].sequence for i in (2, 0, 1)]
    assert admitted == wanted


@pytest.mark.parametrize("policy", POLICIES)
def test_siblings_wait_a_step_for_their_prefix(policy: PolicyName) -> None:
    scheduler = scripted_scheduler(4000, 32, max_batch_tokens=4000, policy=policy)
    prefix = [i % VOCAB_SIZE for i in range(200)]
    requests = [Request(scheduler, [*prefix, i], 2) for i in range(20)]
    run(scheduler, requests)
    assert sum(request.counters.prefilled for request in requests) == 200 + 20


@tries(30)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=12), st.integers(1, 6), policies)
def test_what_is_admitted_fits(lengths: list[int], max_running: int, policy: PolicyName) -> None:
    """A prompt is only admitted with room for all of it: none is preempted before it is computed
    (one token each is generated here, so nothing grows)."""
    scheduler = scripted_scheduler(100, max_running, max_batch_tokens=16, policy=policy)
    run(scheduler, [Request(scheduler, [i] * n) for i, n in enumerate(lengths)])
    assert scheduler.num_preempted == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "max_running"), [("program", 1), ("program", 4), ("program", 16), ("prefix", 4)]
)
def test_hit_rate_is_near_that_of_the_best_order(policy: PolicyName, max_running: int) -> None:
    """96 % of it on average; benchmarks/hit_rate.py prints the table."""
    loads = [Workload.random(seed, max_running, share=0.2) for seed in range(8)]
    assert statistics.mean(load.share_of_best(policy) for load in loads) >= 0.96


def test_depth_first_is_the_best_order() -> None:
    """What the hit rates are shares of: reached exactly, and only by an order that knows all."""
    load = Workload.random(3, max_running=1, share=0.2)
    assert load.share_of_best("fcfs", is_depth_first=True) == 1.0
    assert load.share_of_best("fcfs") < 0.9
