"""One branch of the mock: its text and variables, and what each op does to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sestina.lang.choices import score_choices
from sestina.lang.errors import InvalidParams, ModelError, SestinaError
from sestina.lang.ir import (
    CaptureBegin,
    CaptureEnd,
    Fork,
    Gen,
    Ids,
    Join,
    Op,
    Release,
    RoleBegin,
    RoleEnd,
    Select,
    SetVar,
    Text,
    Var,
)
from sestina.lang.session import Chunk, Done, Ended, Event, Failed, GenMeta, Usage

Answer = list[str] | Exception
Value = str | list[str]


class MockBranch:
    """Executes ops. `answered` is also the number of the op at the head of `queue`."""

    def __init__(self, branch: str, *, seed: int, is_waiting: bool = False) -> None:
        self.id = branch
        self.seed = seed
        self.is_waiting = is_waiting  # announced by a fork that has not run yet
        self.is_busy = False
        self.is_ended = False
        self.queue: deque[Op] = deque()
        self.answered = 0
        self.text = ""
        self.fork_len = 0
        self.variables: dict[str, Value] = {}
        self.names_set: dict[str, None] = {}
        self.error: SestinaError | None = None
        self._captures: dict[str, int] = {}
        self._prefilled = 0
        self._sampled = 0

    @property
    def is_running(self) -> bool:
        """Whether something submitted is not answered yet."""
        return bool(self.queue) or (self.is_waiting and not self.is_ended)

    def run(
        self, op: Op, answer: Answer | None, children: Sequence[MockBranch], chunk_len: int
    ) -> list[Event]:
        """Run the op at the head of the queue; `answer` is for gens and selects."""
        try:
            if self.error is not None:
                raise self.error
            if isinstance(answer, Exception):
                raise answer
            texts, done = _RUNNERS[type(op)](self, op, answer, children, chunk_len)
        except Exception as error:
            self.error = _as_sestina(error)
            for child in children if isinstance(op, Fork) else ():
                child.is_waiting, child.error = False, self.error
            return [self._failed()]
        number, name = self.answered, getattr(op, "name", None)
        self._take()
        self.text += "".join(texts)
        ids = isinstance(op, Gen) and op.stream
        chunks: list[Event] = [
            Chunk(self.id, number, name, text, tuple(map(ord, text)) if ids else ())
            for text in texts
            if text
        ]
        return [*chunks, Done(self.id, number, name, *done)]

    def cancel(self, error: SestinaError) -> list[Event]:
        """Fail everything queued and end the branch."""
        events: list[Event] = []
        self.error = self.error or error
        while self.queue:
            events.append(self._failed())
        return events if self.is_ended else [*events, self.end()]

    def end(self) -> Ended:
        self.is_ended = True
        num_sampled = self._sampled
        return Ended(
            self.id,
            Usage(
                self.seed,
                prefilled=self._prefilled,
                sampled=num_sampled,
                forward_passes=num_sampled,
            ),
        )

    def _failed(self) -> Failed:
        assert self.error is not None
        number = self.answered
        self._take()
        return Failed(self.id, number, self.error)

    def _take(self) -> None:
        self.queue.popleft()
        self.answered += 1

    def set(self, name: str | None, value: Value) -> None:
        if name is not None:
            self.variables[name] = value
            self.names_set[name] = None

    def _constant(self, text: str) -> tuple[list[str], tuple[Any, ...]]:
        self._prefilled += len(text)
        return [text], (None,)

    def _part(self, part: str | Var) -> str:
        if isinstance(part, str):
            return part
        if part.name not in self.variables:
            raise InvalidParams(f"no variable {part.name!r} on this branch")
        value = self.variables[part.name]
        return value if isinstance(value, str) else value[0]

    def _text(self, op: Text, *_: Any) -> Any:
        return self._constant("".join(self._part(part) for part in op.parts))

    def _ids(self, op: Ids, *_: Any) -> Any:
        return self._constant("".join(map(chr, op.ids)))

    def _role_begin(self, op: RoleBegin, *_: Any) -> Any:
        return self._constant(f"<|im_start|>{op.role}\n")

    def _role_end(self, _op: RoleEnd, *_: Any) -> Any:
        return self._constant("<|im_end|>\n")

    def _gen(self, op: Gen, texts: list[str], _: Any, chunk_len: int) -> Any:
        value: Value = texts[0] if len(texts) == 1 else texts
        self.set(op.name, value)
        self._sampled += sum(map(len, texts))
        meta = tuple(
            GenMeta("stop", prefilled=len(self.text), sampled=len(t), ids=tuple(map(ord, t)))
            for t in texts
        )
        size = chunk_len if op.stream else len(texts[0]) or 1
        pieces = [texts[0][i : i + size] for i in range(0, len(texts[0]), size)]
        return pieces, (value, meta)

    def _select(self, op: Select, texts: list[str], *_: Any) -> Any:
        chosen = texts[0]
        if chosen not in op.choices:
            raise ModelError(f"the mock's response {chosen!r} is not among {list(op.choices)}")
        self.set(op.name, chosen)
        logprobs = [[-0.5 if text == chosen else -4.0] for text in op.choices]
        base = [[0.0] for _ in op.choices]
        scores = tuple(score_choices(op.method, op.choices, logprobs, base))
        self._sampled += 1
        return [chosen], (chosen, (GenMeta("select", sampled=1, choices=scores),))

    def _fork(self, _op: Fork, _answer: Any, children: Sequence[MockBranch], *_: Any) -> Any:
        for child in children:
            child.text, child.fork_len = self.text, len(self.text)
            child.variables = dict(self.variables)
            child.is_waiting = False
        return [], (None,)

    def _join(self, op: Join, _answer: Any, children: Sequence[MockBranch], *_: Any) -> Any:
        for child in children:
            if child.error is not None:
                raise child.error
        if op.mode == "concate_and_append":
            return self._constant("".join(c.text[c.fork_len :] for c in children))
        gathered: dict[str, list[str | None]] = {}
        for name in dict.fromkeys(name for c in children for name in c.names_set):
            gathered[name] = [c._part(Var(name)) if name in c.names_set else None for c in children]
        for name, values in gathered.items():
            self.set(name, str(values))
        return [], (gathered,)

    def _capture_begin(self, op: CaptureBegin, *_: Any) -> Any:
        self._captures[op.name] = len(self.text)
        return [], (None,)

    def _capture_end(self, op: CaptureEnd, *_: Any) -> Any:
        value = self.text[self._captures.pop(op.name) :]
        self.set(op.name, value)
        return [], (value,)

    def _set_var(self, op: SetVar, *_: Any) -> Any:
        self.set(op.name, op.value)
        return [], (None,)

    def _release(self, _op: Release, *_: Any) -> Any:
        return [], (None,)


def _as_sestina(error: Exception) -> SestinaError:
    """What answers an op is one of ours; anything else is its cause."""
    if isinstance(error, SestinaError):
        return error
    wrapped = ModelError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


_RUNNERS: Mapping[type, Callable[..., Any]] = MappingProxyType(
    {
        Text: MockBranch._text,
        Ids: MockBranch._ids,
        RoleBegin: MockBranch._role_begin,
        RoleEnd: MockBranch._role_end,
        Gen: MockBranch._gen,
        Select: MockBranch._select,
        Fork: MockBranch._fork,
        Join: MockBranch._join,
        CaptureBegin: MockBranch._capture_begin,
        CaptureEnd: MockBranch._capture_end,
        SetVar: MockBranch._set_var,
        Release: MockBranch._release,
    }
)
