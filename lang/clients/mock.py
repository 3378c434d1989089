"""MockBackend: runs programs without a model, for testing them. Deterministic and in process.

    backend = MockBackend({"city": "Paris", "mood": lambda call: call.text[-5:]})
    state = my_program.run(backend=backend)
    assert backend.ops()[0] == Text(("Where?",))

Answers are given, not checked: a constraint, a stop text or max_tokens changes nothing. Tokens are
characters (a token id is a code point). Ops run when somebody reads events: one op of each branch
in turn, so the order is the same every time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from sestina.lang.clients.mock_branch import Answer, MockBranch
from sestina.lang.errors import Cancelled, EngineClosed, InvalidParams, ModelError
from sestina.lang.ir import Fork, Gen, Join, Op, Release, Select
from sestina.lang.session import ROOT, Event, SessionOptions
from sestina.lang.sleepers import Sleepers


@dataclass(frozen=True, slots=True)
class MockCall:
    """What a model would be asked: the op, its number, its branch, and the text before it.

    `index` counts the continuations of a gen with n > 1.
    """

    name: str | None
    op: Gen | Select
    branch: str
    number: int
    text: str
    index: int = 0


Response = str | Exception | Callable[[MockCall], str]
Responses = Mapping[str, Response] | Sequence[Response] | Callable[[MockCall], str]


class MockBackend:
    """A Backend whose answers are given.

    responses: by variable name; or a list, used up in the order in which gens and selects run; or
        one function for all. A response is the text, an exception to fail with, or a function of
        the MockCall. Without any, a gen answers "<name>" and a select its first option.
    failures: ops to fail, by branch and number: {("0", 3): ModelError("no")}.
    chunk_len: characters per piece for streamed gens.
    """

    def __init__(
        self,
        responses: Responses | None = None,
        *,
        failures: Mapping[tuple[str, int], Exception] | None = None,
        chunk_len: int = 4,
    ) -> None:
        self.sessions: list[MockSession] = []
        self.failures = dict(failures or {})
        self.chunk_len = chunk_len
        self._responses = responses
        self._queue = deque(responses) if _is_list(responses) else None
        self._lock = threading.Lock()

    def open(self, options: SessionOptions) -> MockSession:
        session = MockSession(self, options)
        with self._lock:
            self.sessions.append(session)
        return session

    def ops(self, branch: str = ROOT, session: int = -1) -> list[Op]:
        """What was submitted on a branch, by default on the root of the latest session."""
        return list(self.sessions[session].submitted.get(branch, ()))

    def answer(self, call: MockCall) -> str:
        """The text for one gen or select; raises what the response says."""
        response = self._response(call)
        if isinstance(response, Exception):
            raise response
        return response(call) if callable(response) else response

    def _response(self, call: MockCall) -> Response:
        responses = self._responses
        if self._queue is not None:
            with self._lock:
                if not self._queue:
                    raise ModelError(f"the mock has no response left for {call.name!r}")
                return self._queue.popleft()
        if isinstance(responses, Mapping):
            if call.name is None or call.name not in responses:
                raise ModelError(f"the mock has no response for {call.name!r}")
            return responses[call.name]
        if callable(responses):
            return responses
        return call.op.choices[0] if isinstance(call.op, Select) else f"<{call.name or 'gen'}>"


class MockSession:
    """One program on a MockBackend. `submitted` has all ops by branch, `options` what it asked."""

    def __init__(self, backend: MockBackend, options: SessionOptions) -> None:
        self.options = options
        self.submitted: dict[str, list[Op]] = {ROOT: []}
        self.is_closed = False
        self._backend = backend
        self._changed = threading.Condition()
        self._branches = {ROOT: MockBranch(ROOT, seed=options.seed or 0)}
        self._turns: deque[str] = deque([ROOT])
        self._events: deque[Event] = deque()
        self._sleepers = Sleepers()

    def submit(self, branch: str, ops: Sequence[Op]) -> None:
        with self._changed:
            if self.is_closed:
                raise EngineClosed("the session is closed")
            if branch not in self._branches:
                raise InvalidParams(f"branch {branch!r} was never announced by a fork")
            self.submitted[branch].extend(ops)
            for op in ops:
                self._branches[branch].queue.append(op)
                self._announce(op)
            if self._branches[branch].is_ended:
                self._stop(self._branches[branch])
            self._wake()

    def _announce(self, op: Op) -> None:
        for child in op.children if isinstance(op, Fork) else ():
            self._branches[child] = MockBranch(child, seed=self.options.seed or 0, is_waiting=True)
            self._turns.append(child)
            self.submitted[child] = []

    def events(self) -> Iterator[Event]:
        while True:
            with self._changed:
                while (turn := self._next_turn()) is None and not self._events:
                    if self.is_closed:
                        return
                    self._changed.wait()
                event = self._events.popleft() if self._events else None
            if event is not None:
                yield event
            elif turn is not None:
                self._run_op(turn)

    async def aevents(self) -> AsyncIterator[Event]:
        while True:
            sleeper = None
            with self._changed:
                turn = self._next_turn()
                event = self._events.popleft() if self._events else None
                if event is None and turn is None:
                    if self.is_closed:
                        return
                    sleeper = self._sleepers.add()
            if event is not None:
                yield event
            elif sleeper is not None:
                await sleeper
            elif turn is not None:
                self._run_op(turn)

    def cancel(self, branch: str | None = None) -> None:
        with self._changed:
            for name, state in self._branches.items():
                if branch is None or name == branch or name.startswith(f"{branch}."):
                    self._stop(state)
            self._wake()

    def close(self) -> None:
        self.cancel()
        with self._changed:
            self.is_closed = True
            self._wake()

    def _stop(self, branch: MockBranch) -> None:
        """Answer everything with Cancelled; the op that is running right now included."""
        self._events.extend(branch.cancel(Cancelled("cancelled")))

    def _next_turn(self) -> MockBranch | None:
        """The next branch, in turn, whose first op can run now; None while there are events."""
        if self._events:
            return None
        for _ in range(len(self._turns)):
            branch = self._branches[self._turns[0]]
            self._turns.rotate(-1)
            if branch.queue and not branch.is_waiting and not branch.is_busy:
                op = branch.queue[0]
                joined = op.children if isinstance(op, Join) else ()
                if branch.error or not any(self._branches[c].is_running for c in joined):
                    branch.is_busy = True
                    return branch
        return None

    def _run_op(self, branch: MockBranch) -> None:
        """Run a branch's first op. Answers are asked for without the lock: they are user code."""
        op = branch.queue[0]
        answer: Answer | None = None
        if isinstance(op, (Gen, Select)) and branch.error is None:
            answer = self._ask(branch, op)
        with self._changed:
            branch.is_busy = False
            if branch.queue and branch.queue[0] is op:  # else it was cancelled meanwhile
                self._events.extend(self._commit(branch, op, answer))
            self._wake()

    def _commit(self, branch: MockBranch, op: Op, answer: Answer | None) -> list[Event]:
        failure = self._backend.failures.get((branch.id, branch.answered))
        if failure is not None and branch.error is None:
            answer = failure
        children = [self._branches[c] for c in getattr(op, "children", ())]
        events = branch.run(op, answer, children, self._backend.chunk_len)
        if isinstance(op, Release):
            events.append(branch.end())
        return events

    def _ask(self, branch: MockBranch, op: Gen | Select) -> Answer:
        n = (op.params.n or self.options.defaults.n or 1) if isinstance(op, Gen) else 1
        call = MockCall(op.name, op, branch.id, branch.answered, branch.text)
        try:
            return [self._backend.answer(replace(call, index=i)) for i in range(n)]
        except Exception as error:
            return error

    def _wake(self) -> None:
        self._changed.notify_all()
        self._sleepers.wake()


def _is_list(responses: Responses | None) -> TypeGuard[Sequence[Response]]:
    return isinstance(responses, Sequence) and not isinstance(responses, str)
