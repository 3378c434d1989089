"""The only seam between the language and a runtime: op lists in, events out.

Submitting never blocks and keeps order per branch. Branch ids are chosen by the client: the root
is `ROOT` ("0"), a child is announced by a `Fork` op ("0.2"); ops for an announced child may be
submitted at once. The n-th op submitted on a branch is answered by exactly one `Done` or `Failed`
with `op == n` (counting from 0); after a failure the branch's remaining ops are answered `Failed`
with the same cause, and no other branch is touched.

A `Join` waits for everything that was submitted to its children before it. Cancelling a branch
cancels its descendants. `events` and `aevents` may be called again and go on where the last reader
stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from sestina.lang.errors import SestinaError
from sestina.lang.ir import Op
from sestina.lang.params import SamplingParams

ROOT = "0"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a program asks for as a whole.

    seed: root of the program's seed tree; None lets the runtime draw one (reported in Usage).
    namespace: prefixes are shared only inside one namespace.
    defaults: sampling parameters that each gen's own override.
    priority: programs with a higher one go first; none waits for ever because of it.
    """

    seed: int | None = None
    namespace: str = ""
    defaults: SamplingParams = field(default_factory=SamplingParams)
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token with its natural-log probability under the unmodified model.

    `logprob` is None for a prompt's first token. `top` are the most likely alternatives, best
    first. `text` is set when asked for.
    """

    id: int
    logprob: float | None
    text: str | None = None
    top: tuple[tuple[int, float, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class GenMeta:
    """How a value came about. Token counts are of this op alone.

    text: the value before any parsing.
    finish_reason: "stop" (a stop text, id or regex, or end of text), "grammar" (the constraint is
    complete), "length" (max_tokens), "select". `matched` is the stop that ended it.
    prefilled / cached: prompt tokens computed for / found in the KV cache for this op. healed:
    prompt tokens that were taken back and drawn anew (`SamplingParams.heal`).
    forced: appended because the grammar allowed nothing else. sampled: drawn from the model.
    drafted / accepted: guessed from the text before the model ran / of these, what it confirmed;
        accepted tokens are sampled ones too.
    choices / label_mass: of a select, how every option scored, and the total probability of all
    options; see `sestina.lang.choices`.
    """

    finish_reason: str
    text: str = ""
    matched: str | int | None = None
    seed: int | None = None
    prefilled: int = 0
    cached: int = 0
    healed: int = 0
    forced: int = 0
    sampled: int = 0
    drafted: int = 0
    accepted: int = 0
    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    prompt_logprobs: tuple[TokenLogprob, ...] | None = None
    choices: tuple[ChoiceScore, ...] | None = None
    label_mass: float | None = None


@dataclass(frozen=True, slots=True)
class ChoiceScore:
    """One option of a select: its tokens' log-probabilities, the method's score, and the posterior.

    logprob is the joint log-probability of the option's tokens; probability is the softmax of the
    joint log-probabilities over the options (so it sums to 1).
    """

    text: str
    score: float
    logprob: float
    probability: float
    token_logprobs: tuple[float, ...]
    unconditional_logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a branch cost, in tokens, forward passes it took part in, and seconds.

    The tokens are those of `GenMeta`, added up over the branch's ops. queued_s: waited, ready to be
    computed, for a place in the batch.
    """

    seed: int
    prefilled: int = 0
    cached: int = 0
    healed: int = 0
    forced: int = 0
    sampled: int = 0
    drafted: int = 0
    accepted: int = 0
    forward_passes: int = 0
    queued_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text appended to a branch by op number `op`; whole UTF-8 characters only.

    Sent for every op that appends text (constants and role markup too), in order, so that joining
    the chunks of a branch gives its text. `ids` and `logprobs` only for gens with stream=True.
    """

    branch: str
    op: int
    name: str | None
    text: str
    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """Op number `op` finished. `value`: str (Gen, Select, CaptureEnd), list[str] (Gen with n > 1),
    dict of lists (Join gather_variable), None (others)."""

    branch: str
    op: int
    name: str | None
    value: str | list[str] | dict[str, list[str | None]] | None
    meta: tuple[GenMeta, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Op number `op` failed, or was not reached because an earlier op of the branch did."""

    branch: str
    op: int
    error: SestinaError


@dataclass(frozen=True, slots=True)
class Ended:
    """The branch was released or cancelled and all its ops are answered."""

    branch: str
    usage: Usage


Event = Chunk | Done | Failed | Ended


class Session(Protocol):
    """One program's conversation with a runtime."""

    def submit(self, branch: str, ops: Sequence[Op]) -> None:
        """Queue ops on a branch; never blocks. EngineClosed if the runtime is gone."""

    def events(self) -> Iterator[Event]:
        """Events in order, waiting for each; ends after the session is closed and drained."""

    def aevents(self) -> AsyncIterator[Event]:
        """The same without blocking the running event loop."""

    def cancel(self, branch: str | None = None) -> None:
        """Stop a branch (None: all) and free what it holds. Idempotent; ops answer Cancelled."""

    def close(self) -> None:
        """End the session: what still runs is cancelled. Idempotent."""


class Backend(Protocol):
    """Something that runs programs."""

    def open(self, options: SessionOptions) -> Session:
        """Start a program."""


@runtime_checkable
class AsyncBackend(Backend, Protocol):
    """A Backend of an event loop, that may let a program wait for its turn."""

    async def aopen(self, options: SessionOptions) -> Session:
        """Start a program as soon as there is room for it."""
