"""What is known on the Python side about one branch: its ops, their text, its variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from sestina.lang.ir import (
    CaptureBegin,
    CaptureEnd,
    Gen,
    Op,
    RoleBegin,
    RoleEnd,
    Select,
)
from sestina.lang.location import Place, render_place
from sestina.lang.session import Chunk, Usage
from sestina.lang.variable import Failure, Variable, decode_text

PROGRAM_ENDED = "the program has ended"


class Submitted(NamedTuple):
    """An op on its way: where the user wrote it and the variables its answer resolves."""

    op: Op
    place: Place | None
    variables: tuple[Variable, ...] = ()

    def failure(self, cause: BaseException) -> Failure:
        return Failure(cause, render_op(self.op), render_place(self.place))


class BranchRecord:
    """One branch as its State sees it. Changed only under the interpreter's lock.

    A child starts with its parent's variables and text up to the parent's op number `fork_op`.
    `answered` counts the ops that were done or failed: the runtime answers them in order.
    """

    __slots__ = (
        "answered",
        "chunks",
        "closed_by",
        "failed_op",
        "failure",
        "fork_op",
        "id",
        "names_set",
        "num_children",
        "open_captures",
        "ops",
        "parent",
        "role",
        "usage",
        "variables",
    )

    def __init__(self, branch: str, parent: BranchRecord | None = None) -> None:
        self.id = branch
        self.parent = parent
        self.fork_op = len(parent.ops) if parent else 0
        self.ops: list[Submitted] = []
        self.answered = 0
        self.chunks: list[Chunk] = []
        self.variables: dict[str, Variable] = dict(parent.variables) if parent else {}
        self.names_set: dict[str, None] = {}
        self.role: str | None = parent.role if parent else None
        self.failure: Failure | None = None
        self.failed_op: int | None = None
        self.usage: Usage | None = None
        self.closed_by: str | None = None
        self.num_children = 0
        self.open_captures: dict[str, Variable] = {}

    def bind(self, variable: Variable) -> None:
        """From now on `variable.name` means this variable, here and in later forks."""
        self.variables[variable.name] = variable
        self.names_set[variable.name] = None

    def variable(self, name: str) -> Variable:
        """The variable of this name; KeyError, with the known names, when there is none."""
        try:
            return self.variables[name]
        except KeyError:
            known = ", ".join(map(repr, self.variables)) or "none yet"
            raise KeyError(f"no variable {name!r} in this program; known: {known}") from None

    def variables_of(
        self, op: Op, parse: Callable[[str], Any] | None, place: Place | None
    ) -> tuple[Variable, ...]:
        """Bind and return the variables that the op about to be submitted will resolve."""
        make = _BINDERS.get(type(op))
        return () if make is None else make(self, op, parse, place)

    def was_forked(self) -> bool:
        """Whether the text and variables inherited from the parent are final."""
        return self.parent is None or self.parent.answered > self.fork_op or self.usage is not None

    def lineage(self) -> Iterator[tuple[BranchRecord, int]]:
        """This branch's ancestors, oldest first, then itself; each with its number of ops."""
        if self.parent is not None:
            for record, num_ops in self.parent.lineage():
                yield record, num_ops if record is not self.parent else self.fork_op
        yield self, len(self.ops)

    def text_chunks(self) -> Iterator[Chunk]:
        """All text so far, inherited text first."""
        for record, num_ops in self.lineage():
            yield from (chunk for chunk in record.chunks if chunk.op < num_ops)

    def messages(self) -> list[dict[str, str]]:
        """The turns so far as `{"role", "content"}`, an open one last; text outside turns is not
        part of any message."""
        messages: list[dict[str, str]] = []
        is_open = False
        for record, num_ops in self.lineage():
            texts = [""] * num_ops
            for chunk in record.chunks:
                if chunk.op < num_ops:
                    texts[chunk.op] += chunk.text
            for submitted, text in zip(record.ops[:num_ops], texts, strict=True):
                if isinstance(submitted.op, RoleBegin):
                    messages.append({"role": submitted.op.role, "content": ""})
                    is_open = True
                elif isinstance(submitted.op, RoleEnd):
                    is_open = False
                elif is_open:
                    messages[-1]["content"] += text
        return messages


def _bind_generated(
    record: BranchRecord, op: Any, parse: Callable[[str], Any] | None, place: Place | None
) -> tuple[Variable, ...]:
    if op.name is None:
        return ()
    index = len(record.ops)
    variable = Variable(
        op.name,
        decode=decode_text(parse),
        source=(render_op(op), render_place(place)),
        branch=record.id,
        first_op=index,
        last_op=index,
    )
    record.bind(variable)
    return (variable,)


def _begin_capture(record: BranchRecord, op: Any, _: Any, __: Any) -> tuple[Variable, ...]:
    variable = Variable(op.name, branch=record.id, first_op=len(record.ops) + 1)
    record.open_captures[op.name] = variable
    record.bind(variable)
    return ()


def _end_capture(record: BranchRecord, op: Any, _: Any, __: Any) -> tuple[Variable, ...]:
    """The span wins over variables of its name that were set inside it: it ends last."""
    variable = record.open_captures.pop(op.name)
    variable.last_op = len(record.ops) - 1
    record.bind(variable)
    return (variable,)


_BINDERS: Mapping[type, Callable[[BranchRecord, Any, Any, Any], tuple[Variable, ...]]] = (
    MappingProxyType(
        {
            Gen: _bind_generated,
            Select: _bind_generated,
            CaptureBegin: _begin_capture,
            CaptureEnd: _end_capture,
        }
    )
)


def render_op(op: Op) -> str:
    """An op in a few words, for error messages.

    >>> render_op(Gen("x")), render_op(RoleBegin("user")), render_op(Gen(None))
    ("gen 'x'", "role begin 'user'", 'gen')
    """
    kind = re.sub("(?<=[a-z])(?=[A-Z])", " ", type(op).__name__).lower()
    name = getattr(op, "name", None) or getattr(op, "role", None)
    return f"{kind} {name!r}" if name else kind
