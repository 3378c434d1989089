"""Every exception Sestina raises on purpose.

    SestinaError
    ├── InvalidParams            a sampling or engine parameter is out of range (also a ValueError)
    ├── ConstraintError          a constraint cannot be used; says where in its source
    │   ├── InvalidConstraint        the source is not a regex / schema / grammar at all
    │   ├── UnsupportedConstraint    valid, but beyond the engine: refused rather than approximated
    │   ├── UnsatisfiableConstraint  valid, but no text matches it
    │   └── ConstraintLimitExceeded  compiling or walking it passed a stated limit
    ├── ChatTemplateError        the model has no template, or one that cannot be used turn by turn
    ├── ModelError               a model or tokenizer cannot be found, fetched or read
    ├── CapacityError            the request needs more tokens than there is room for
    ├── ProgramError             one op of a program failed: the cause and the user's line
    ├── Cancelled                the program or branch was cancelled
    ├── EngineClosed             the engine is closed, or its worker ended
    ├── UnsupportedNode          this client cannot execute that op
    └── InternalError            an invariant of ours broke; please report it

Invalid input raises on the line that wrote it wherever possible. An op that fails inside the engine
answers with one of these; its `__cause__` is the original exception.
"""

from __future__ import annotations


class SestinaError(Exception):
    """Base of everything Sestina raises on purpose."""


class InvalidParams(SestinaError, ValueError):
    """A parameter is out of range or of the wrong type; the message names it."""


class ConstraintError(SestinaError):
    """A constraint cannot be used.

    `pointer` is the JSON pointer of the offending place in a schema (`""` is the root), `keyword`
    the schema keyword or construct, `position` the 0-based offset in a regex or grammar source.
    Each is None where it does not apply.
    """

    def __init__(
        self,
        message: str,
        *,
        pointer: str | None = None,
        keyword: str | None = None,
        source: str | None = None,
        position: int | None = None,
    ) -> None:
        self.reason = message
        self.pointer = pointer
        self.keyword = keyword
        self.source = source
        self.position = position
        super().__init__(self._render())

    def _render(self) -> str:
        lines = [self.reason]
        if self.pointer is not None:
            where = f"at {self.pointer or '/'} (JSON pointer {self.pointer!r})"
            lines.append(f"  {where}" + (f", keyword {self.keyword!r}" if self.keyword else ""))
        if self.source is not None and self.position is not None:
            # Only the line with the error, so that a caret under it is right in any terminal.
            start = self.source.rfind("\n", 0, self.position) + 1
            end = self.source.find("\n", self.position)
            line = self.source[start : end if end >= 0 else len(self.source)]
            column = self.position - start
            shift = max(0, column - 60)
            lines += [f"  {line[shift : shift + 100]}", "  " + " " * (column - shift) + "^"]
        return "\n".join(lines)


class InvalidConstraint(ConstraintError):
    """The source is not a well-formed regex, schema or grammar."""


class UnsupportedConstraint(ConstraintError):
    """The constraint is valid but the engine cannot enforce it exactly, so it is refused."""


class UnsatisfiableConstraint(ConstraintError):
    """No text at all matches the constraint."""


class ConstraintLimitExceeded(ConstraintError):
    """Compiling or walking the constraint passed a limit; the message names the limit."""


class ChatTemplateError(SestinaError):
    """The model has no chat template, or it cannot be rendered turn by turn."""


class ModelError(SestinaError):
    """A model, its weights or its tokenizer cannot be found, fetched, verified or read."""


class CapacityError(SestinaError):
    """The request needs more tokens than there is room for; the message has both numbers."""


class Cancelled(SestinaError):
    """The program or branch was cancelled before this op finished."""


class EngineClosed(SestinaError):
    """The engine is closed, or its worker ended; nothing more will be computed."""


class UnsupportedNode(SestinaError):
    """A client cannot execute an op; names both."""

    def __init__(self, client: str, node: str) -> None:
        self.client = client
        self.node = node
        super().__init__(f"{client} cannot execute {node}")


class InternalError(SestinaError):
    """An invariant of Sestina itself is broken. This is our bug: please report it."""


class ProgramError(SestinaError):
    """An op of a program failed.

    `cause` is the original exception, `op` a one-line rendering of the op, `location` the user's
    source line that submitted it as `file:line` (None when it is not known).
    """

    def __init__(self, cause: BaseException, *, op: str, location: str | None) -> None:
        self.cause = cause
        self.op = op
        self.location = location
        where = f"\n  at {location}" if location else ""
        super().__init__(f"{op} failed: {type(cause).__name__}: {cause}{where}")
        self.__cause__ = cause
