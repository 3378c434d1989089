"""A reader's place in a text that is still being written."""

from __future__ import annotations

from collections.abc import Callable

from sestina.lang.branch_record import BranchRecord
from sestina.lang.interpreter import Interpreter
from sestina.lang.session import Chunk
from sestina.lang.variable import Variable


class TextCursor:
    """Pieces of a branch's text, or of one variable's, in order and each once.

    Loop: wait until `ready()`, then `take()`, until `is_ended`; then `raise_failure()`. `until`
    says whether the branch's text is complete, `is_followed` whether a name not known yet may
    still come (`sestina.lang.running`).
    """

    def __init__(
        self,
        interpreter: Interpreter,
        record: BranchRecord,
        name: str | None,
        until: Callable[[], bool],
        is_followed: Callable[[], bool],
    ) -> None:
        self.is_ended = False
        self._interpreter = interpreter
        self._record = record
        self._name = name
        self._until = until
        self._is_followed = is_followed
        self._variable: Variable | None = None
        self._source: BranchRecord | None = None
        self._position = 0
        self._inherited: list[Chunk] = []

    def ready(self) -> bool:
        """Whether there is something to take or nothing more will come. KeyError: no such name."""
        if self._source is None and not self._locate():
            return False
        self.is_ended = self._interpreter.is_over or self._has_all()
        return self.is_ended or bool(self._inherited) or self._position < self._num_chunks()

    def take(self) -> list[Chunk]:
        """The pieces that arrived since the last call."""
        self.ready()  # not yet asked if the session was over before the first wait
        if self._source is None:
            self.is_ended = True  # over without ever having appended the name
            return []
        chunks = self._inherited + self._source.chunks[self._position : self._num_chunks()]
        self._position = self._num_chunks()
        self._inherited = []
        variable = self._variable
        if variable is None:
            return chunks
        if variable.first_op is None:
            return self._value_as_chunk(variable)
        return [chunk for chunk in chunks if variable.covers(chunk.op)]

    def raise_failure(self) -> None:
        """ProgramError if the text ended early."""
        failed = self._record.failure if self._variable is None else self._variable.op_failure
        if failed is not None:
            raise failed.error()

    def _num_chunks(self) -> int:
        return len(self._source.chunks) if self._source else 0

    def _has_all(self) -> bool:
        return self._until() if self._variable is None else self._variable.done

    def _locate(self) -> bool:
        """Find where the text will appear; False while that is not settled."""
        record = self._record
        if self._name is None:
            if not (record.was_forked() or self._interpreter.is_over):
                return False
            self._source = record
            self._inherited = [c for c in record.text_chunks() if c.branch != record.id]
            return True
        if self._name not in record.variables and self._is_followed():
            return False
        self._variable = record.variable(self._name)
        branch = self._variable.branch
        self._source = record if branch is None else self._interpreter.record_of(branch)
        return True

    def _value_as_chunk(self, variable: Variable) -> list[Chunk]:
        """A variable that was set, not generated: its whole text at once."""
        if not variable.done or variable.op_failure is not None:
            return []
        return [Chunk(self._record.id, -1, variable.name, str(variable.value()))]
