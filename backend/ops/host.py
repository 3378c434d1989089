"""What the execution of ops needs from around it, as Protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sestina.backend.branch import Branch, QueuedOp
from sestina.backend.scheduler.sequence import Counters
from sestina.lang.errors import SestinaError
from sestina.lang.params import SamplingParams
from sestina.lang.session import Event, GenMeta

Value = str | list[str] | dict[str, list[str | None]] | None


class ProgramHost(Protocol):
    """The program that a branch belongs to."""

    seed: int
    defaults: SamplingParams
    is_paused: bool  # no op is to begin for now

    def emit(self, event: Event) -> None:
        """Send an event to the program's reader."""

    def branch(self, branch_id: str) -> Branch:
        """A branch by id; InvalidParams if it was never announced."""

    def on_idle(self, branch: Branch) -> None:
        """The branch has answered everything submitted so far."""

    def post(self, action: Callable[[], None]) -> None:
        """Run `action` on the engine's thread soon; callable from any thread."""


class OpHost(Protocol):
    """What an op under way may ask of the runner of its branch."""

    def finish(
        self,
        branch: Branch,
        queued: QueuedOp,
        name: str | None = None,
        value: Value = None,
        meta: Sequence[GenMeta] = (),
    ) -> None:
        """Answer the op and let the branch go on."""

    def fail(self, branch: Branch, queued: QueuedOp | None, error: SestinaError) -> None:
        """Answer the op, and every later one of the branch, with the error."""

    def spend(self, branch: Branch, counters: Counters) -> None:
        """Book what an op cost on its branch and on the engine."""
