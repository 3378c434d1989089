"""A variable of a program: a future that is pending, holds a value, or failed with a cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sestina.lang.errors import ProgramError
from sestina.lang.session import GenMeta


class Failure(NamedTuple):
    """Why an op has no answer: the original exception, the op in words, the user's `file:line`."""

    cause: BaseException
    op: str
    location: str | None

    def error(self) -> ProgramError:
        """A fresh exception for each reader, so that tracebacks of readers do not pile up."""
        return ProgramError(self.cause, op=self.op, location=self.location)


class Variable:
    """One submission of a name. A later submission of the same name is another Variable.

    `decode` makes the value from the runtime's answer. It runs when the value is first read, in
    the reader's thread: a validator written by the user then cannot stall other readers.
    `source` is where the failure of `decode` is reported. `first_op` and `last_op` are the ops of
    `branch` whose text this variable is made of (None: no text of its own / still open).
    """

    __slots__ = (
        "_decode",
        "_failure",
        "_has_value",
        "_raw",
        "_value",
        "branch",
        "done",
        "first_op",
        "last_op",
        "meta",
        "name",
        "source",
    )

    def __init__(
        self,
        name: str,
        *,
        decode: Callable[[Any], Any] | None = None,
        source: tuple[str, str | None] = ("", None),
        branch: str | None = None,
        first_op: int | None = None,
        last_op: int | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.branch = branch
        self.first_op = first_op
        self.last_op = last_op
        self.done = False
        self.meta: tuple[GenMeta, ...] = ()
        self._decode = decode
        self._raw: Any = None
        self._value: Any = None
        self._has_value = False
        self._failure: Failure | None = None

    @classmethod
    def known(cls, name: str, value: Any) -> Variable:
        """A variable that has its value from the start."""
        variable = cls(name)
        variable.resolve(value)
        return variable

    def resolve(self, raw: Any, meta: tuple[GenMeta, ...] = ()) -> None:
        """The answer arrived. No effect when already done."""
        if not self.done:
            self._raw, self.meta, self.done = raw, meta, True

    def fail(self, failure: Failure) -> None:
        """There will be no answer. No effect when already done."""
        if not self.done:
            self._failure, self.done = failure, True

    @property
    def op_failure(self) -> Failure | None:
        """Why the runtime gave no answer; None too when it did but `decode` refuses it."""
        return self._failure

    @property
    def is_open(self) -> bool:
        """Whether this is a captured span that has not ended."""
        return not self.done and self.first_op is not None and self.last_op is None

    def failure(self) -> Failure | None:
        """Why there is no value, or None. Only once `done`; decodes if that has not happened."""
        if self._failure is None and not self._has_value:
            try:
                self._value = self._raw if self._decode is None else self._decode(self._raw)
                self._has_value = True
            except ProgramError as error:  # a gathered variable of a fork, with its own location
                self._failure = Failure(error.cause, error.op, error.location)
            except Exception as error:
                self._failure = Failure(self._explained(error), *self.source)
        return self._failure

    def _explained(self, error: Exception) -> Exception:
        """What does not parse because it is not whole says so."""
        if not any(meta.finish_reason == "length" for meta in self.meta):
            return error
        cut_off = ValueError(f"the text was cut off by max_tokens, so it cannot be read: {error}")
        cut_off.__cause__ = error
        return cut_off

    def value(self) -> Any:
        """The value; ProgramError when there is none. Only once `done`."""
        failure = self.failure()
        if failure is not None:
            raise failure.error()
        return self._value

    def covers(self, op: int) -> bool:
        """Whether text of op number `op` belongs to this variable."""
        first, last = self.first_op, self.last_op
        return first is not None and first <= op and (last is None or op <= last)


def decode_text(parse: Callable[[str], Any] | None) -> Callable[[Any], Any] | None:
    """`parse` for one text, and element by element for the list that n > 1 gives."""
    if parse is None:
        return None

    def decode(raw: Any) -> Any:
        return [parse(text) for text in raw] if isinstance(raw, list) else parse(raw)

    return decode
