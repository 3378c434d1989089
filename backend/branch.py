"""One line of text in a program: its tokens, variables, open turn and queue of ops."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from sestina.backend.grammar import CompiledGrammar
from sestina.backend.sampling.stop import StopAutomaton
from sestina.backend.scheduler.sequence import Counters, Sequence
from sestina.lang.errors import SestinaError
from sestina.lang.ir import Op

NO_TEXT = (0, 0)
"""A `text_run` that is none."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a gen needs compiled: its constraint and its stop regexes."""

    grammar: CompiledGrammar | None
    stop_regexes: tuple[StopAutomaton, ...]


@dataclass(frozen=True, slots=True)
class QueuedOp:
    """An op with its number on the branch, and what is being compiled for it meanwhile."""

    index: int
    op: Op
    prepared: Future[Prepared] | None = None


@dataclass(frozen=True, slots=True)
class ActiveOp:
    """The op a branch waits for. `cancel` stops it and frees what it holds."""

    queued: QueuedOp
    cancel: Callable[[], None]


@dataclass(eq=False)
class Branch:
    """State of one branch; changed on the engine's thread only.

    `sequence` holds what is tokenised, `untokenised` the text after it: constant text is
    tokenised in one piece as late as possible, so that the tokens do not depend on how the
    program happened to cut it. `text` is all of it.

    text_run: tokens [start, end) that the latest constant text became; a gen may take some of them
    back if nothing came after them (see `sestina.backend.ops.healing`). fork_overlap: bytes at
    `fork_token_start` that are the parent's text, where a gen did so across the fork.
    """

    id: str
    sequence: Sequence
    parent: Branch | None = None
    is_born: bool = True
    ops: deque[QueuedOp] = field(default_factory=deque)
    num_submitted: int = 0
    active: ActiveOp | None = None
    is_advancing: bool = False
    is_released: bool = False
    is_ended: bool = False
    error: SestinaError | None = None
    variables: dict[str, str] = field(default_factory=dict)
    own_names: list[str] = field(default_factory=list)
    untokenised: list[str] = field(default_factory=list)
    roles: tuple[str, ...] = ()  # of the turns that have ended
    open_role: str | None = None
    role_suffix: str = ""
    captures: dict[str, int] = field(default_factory=dict)
    fork_text_start: int = 0
    fork_token_start: int = 0
    fork_overlap: int = 0
    text_run: tuple[int, int] = NO_TEXT
    counters: Counters = field(default_factory=Counters)
    waiters: list[Callable[[], None]] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    _text_len: int = 0

    @property
    def can_run(self) -> bool:
        """There is an op to run, and nothing that it would have to wait for."""
        return self.is_born and self.error is None and self.active is None and bool(self.ops)

    @property
    def is_idle(self) -> bool:
        """Every op submitted so far is answered."""
        return self.active is None and not self.ops and (self.is_born or self.error is not None)

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def text_len(self) -> int:
        return self._text_len

    def append_text(self, text: str) -> None:
        """Record text; whoever calls also tokenises it or puts it into `untokenised`."""
        self._text.append(text)
        self._text_len += len(text)

    def set_variable(self, name: str, value: str) -> None:
        self.variables[name] = value
        if name not in self.own_names:
            self.own_names.append(name)

    def be_born(self, parent: Branch) -> None:
        """Take over everything the parent has; its tokens' KV is shared through the radix tree."""
        self.sequence = parent.sequence.branch_off()
        self.sequence.keeps_lease = True
        self.variables = dict(parent.variables)
        self.roles = parent.roles
        self.open_role, self.role_suffix = parent.open_role, parent.role_suffix
        self.captures = dict(parent.captures)
        self._text, self._text_len = list(parent._text), parent._text_len
        self.fork_text_start = parent._text_len
        self.fork_token_start = len(self.sequence)
        self.text_run = parent.text_run
        self.is_born = True
