"""The scheduler without programs: requests of so many tokens on the scripted model."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sestina.backend.models.scripted import Script, ScriptedModel
from sestina.backend.sampling.sampler import Sampled, SampleRow, row_settings
from sestina.backend.scheduler.policy import PolicyName
from sestina.backend.scheduler.scheduler import Scheduler, SchedulerOptions
from sestina.backend.scheduler.sequence import Account, Counters, Drawing, Scores, Sequence
from sestina.lang.errors import SestinaError
from sestina.lang.params import SamplingParams

VOCAB_SIZE = 64
GREEDY = SamplingParams.of({"temperature": 0.0}).resolved()


def always_one(tokens: tuple[int, ...]) -> int:
    """The cheapest script."""
    return 1


def scripted_scheduler(
    max_total_tokens: int,
    max_running: int,
    *,
    max_batch_tokens: int = 512,
    policy: PolicyName = "program",
    script: Script = always_one,
) -> Scheduler:
    """Its model finds out whether the KV pages are right."""
    model = ScriptedModel(script, VOCAB_SIZE, max_len=1 << 20)
    return Scheduler(
        model, SchedulerOptions(max_total_tokens, max_running, max_batch_tokens, policy)
    )


@dataclass(eq=False)
class Request:
    """A task: compute a prompt, then generate `num_tokens` greedily. Its error ends the test."""

    scheduler: Scheduler
    prompt: SequenceOf[int]
    num_tokens: int = 1
    account: Account = field(default_factory=Account)
    namespace: str = ""
    counters: Counters = field(default_factory=Counters)
    output: list[int] = field(default_factory=list)
    score_from: int | None = None
    num_top: int = 0
    quiet_until: int = 0
    wants_sample: bool = True

    def __post_init__(self) -> None:
        self.sequence = Sequence(self.namespace, self.account)
        self.sequence.append(self.prompt, is_text=True)

    @property
    def is_done(self) -> bool:
        return len(self.output) == self.num_tokens

    def start(self) -> None:
        self.sequence.task = self
        self.scheduler.add(self.sequence)

    def cancel(self) -> None:
        self.sequence.task = None
        self.scheduler.remove(self.sequence)

    @property
    def drawing(self) -> Drawing:
        return Drawing(GREEDY, row_settings([SampleRow(GREEDY, 0, len(self.prompt))]))

    def fill_mask(self, row: NDArray[np.int32]) -> None:
        raise AssertionError("nothing is masked")

    def sample_row(self, mask: NDArray[np.int32] | None) -> SampleRow:
        raise AssertionError("no logits are changed")

    def on_sampled(self, sampled: Sampled) -> None:
        self.output.append(sampled.id)
        if self.is_done:
            self.cancel()
        else:
            self.sequence.append((sampled.id,), is_text=False)
            self.scheduler.add(self.sequence)

    def on_scores(self, scores: Scores) -> None:
        raise AssertionError("nothing is scored")

    def on_computed(self) -> None:
        raise AssertionError("every request samples")

    def on_error(self, error: SestinaError) -> None:
        raise error


def run(scheduler: Scheduler, requests: Iterable[Request]) -> None:
    """Start all at once, and step until all are done."""
    requests = list(requests)
    for request in requests:
        request.start()
    while scheduler.step():
        pass
    assert all(request.is_done for request in requests)
