"""Ops to a session and its events back, for tests of the seam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sestina.lang.ir import Gen, Op, Text, Var
from sestina.lang.params import SamplingParams
from sestina.lang.session import (
    ROOT,
    Backend,
    Chunk,
    Done,
    Ended,
    Event,
    Failed,
    Session,
    SessionOptions,
)

SHORT = SamplingParams(max_tokens=4)


def gen(name: str | None, *, n: int | None = None, stream: bool = False) -> Gen:
    return Gen(name, SHORT.merge(SamplingParams(n=n)), stream=stream)


def unresolvable() -> Text:
    """An op that fails on every backend: it mentions a variable that was never set."""
    return Text((Var("never set"),))


def events_of(
    backend: Backend, *submissions: tuple[str, Sequence[Op]], options: SessionOptions | None = None
) -> list[Event]:
    """Submit to branches in this order, then collect everything until all of them have ended.

    A Join waits for what was submitted to its children before it, so it comes after that.
    """
    session = backend.open(options or SessionOptions(seed=1))
    for branch, ops in submissions:
        session.submit(branch, ops)
    return drain(session, len({branch for branch, _ in submissions}))


def drain(session: Session, num_branches: int) -> list[Event]:
    """All events, up to and including `num_branches` Ended; then the session is closed."""
    events: list[Event] = []
    for event in session.events():
        events.append(event)
        if sum(isinstance(e, Ended) for e in events) == num_branches:
            session.close()
    return events


def answers(events: Iterable[Event], branch: str = ROOT) -> list[Done | Failed]:
    return [e for e in events if isinstance(e, (Done, Failed)) and e.branch == branch]


def text(events: Iterable[Event], branch: str = ROOT) -> str:
    return "".join(e.text for e in events if isinstance(e, Chunk) and e.branch == branch)


def values(events: Iterable[Event], branch: str = ROOT) -> dict[str | None, object]:
    return {e.name: e.value for e in answers(events, branch) if isinstance(e, Done)}


def outcomes(events: Iterable[Event], branch: str = ROOT) -> list[type]:
    return [type(answer) for answer in answers(events, branch)]


def failure(events: Iterable[Event], branch: str = ROOT) -> str:
    """The message of the branch's first failed op."""
    return next(str(a.error) for a in answers(events, branch) if isinstance(a, Failed))
