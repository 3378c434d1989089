"""State: the `s` of a program. Appending queues ops at once; reading waits for answers.

A variable is a future: `s += gen("x")` returns immediately and `s["x"]` waits. Nothing waits for
ever: every op is answered, and what failed raises ProgramError with the cause and the line that
appended it. A State is one branch; `fork` makes more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Literal, overload

from sestina.lang.branch_record import PROGRAM_ENDED, BranchRecord, render_op
from sestina.lang.errors import Cancelled, EngineClosed, ProgramError
from sestina.lang.expression import Expr, Part, Step, expression
from sestina.lang.fork import ForkGroup
from sestina.lang.interpreter import Interpreter
from sestina.lang.ir import CaptureBegin, CaptureEnd, Gen, RoleBegin, RoleEnd, SetVar
from sestina.lang.location import Place, raised_at, render_place, user_place
from sestina.lang.meta import MetaInfo
from sestina.lang.running import Running
from sestina.lang.session import ROOT, Chunk, Usage
from sestina.lang.text_cursor import TextCursor
from sestina.lang.variable import Failure, Variable


class State:
    """One branch of a running program.

    `s += part` appends (a string, an expression, a list of these); `s["x"]` reads a variable and
    `s["x"] = value` sets one; `"x" in s` tells whether it was ever appended. `ret_value` is what
    the program's function returned.
    """

    __slots__ = ("_interpreter", "_record", "_run", "ret_value")

    def __init__(
        self, interpreter: Interpreter, run: Running, record: BranchRecord | None = None
    ) -> None:
        self._interpreter = interpreter
        self._record = interpreter.root if record is None else record
        self._run = run
        self.ret_value: Any = None

    def __repr__(self) -> str:
        record = self._record
        progress = f"{record.answered}/{len(record.ops)} ops"
        failed = ", failed" if record.failure else ""
        return f"<State {self._run.name}:{record.id} {progress}{failed}>"

    # Appending

    def __iadd__(self, part: Part) -> State:
        self.append(part)
        return self

    def append(self, part: Part) -> None:
        """The same as `s += part`. ValueError for None, ProgramError if nothing can be added."""
        self._append(expression(part), user_place())

    def _append(self, expr: Expr, place: Place | None) -> None:
        record = self._record
        steps = [self._as_run(step) for step in expr.steps]
        role = _role_after(record.role, steps, place)
        if steps:
            self._check_open(render_op(steps[0].op), place)
            self._interpreter.submit(record, steps, place)
            record.role = role

    def _as_run(self, step: Step) -> Step:
        if self._run.stream and isinstance(step.op, Gen):
            return Step(replace(step.op, stream=True), step.parse)
        return step

    def _check_open(self, what: str, place: Place | None) -> None:
        record = self._record
        cause: Exception | None = None
        if record.closed_by is not None:
            cause = RuntimeError(f"nothing can be added: {record.closed_by}")
        elif record.usage is not None:
            cause = Cancelled("nothing can be added: this branch was cancelled or its engine ended")
        if cause is not None:
            raise ProgramError(cause, op=what, location=render_place(place))

    def __setitem__(self, name: str, value: object) -> None:
        """Set a variable. The program keeps `value` itself; `var(name)` appends its `str`.

        Also when the program has ended: no op can read it any more, but `s[name]` does.
        """
        if self._record.closed_by == PROGRAM_ENDED:
            self._record.bind(Variable.known(name, value))
            return
        place = user_place()
        op = SetVar(name, str(value))
        self._check_open(render_op(op), place)
        self._interpreter.submit_op(self._record, op, (Variable.known(name, value),), place)

    @overload
    def role(self, name: str) -> Span: ...
    @overload
    def role(self, name: str, expr: Part) -> None: ...
    def role(self, name: str, expr: Part = ...) -> Span | None:
        """Append `expr` as one turn; without it, a `with` scope whose body is the turn."""
        begin, end = Step(RoleBegin(name)), Step(RoleEnd(name))
        if expr is ...:
            return Span(self, begin, end)
        self._append(Expr((begin, *expression(expr).steps, end)), user_place())
        return None

    @overload
    def system(self) -> Span: ...
    @overload
    def system(self, expr: Part) -> None: ...
    def system(self, expr: Part = ...) -> Span | None:
        """`role("system")`."""
        return self.role("system", expr)

    @overload
    def user(self) -> Span: ...
    @overload
    def user(self, expr: Part) -> None: ...
    def user(self, expr: Part = ...) -> Span | None:
        """`role("user")`."""
        return self.role("user", expr)

    @overload
    def assistant(self) -> Span: ...
    @overload
    def assistant(self, expr: Part) -> None: ...
    def assistant(self, expr: Part = ...) -> Span | None:
        """`role("assistant")`."""
        return self.role("assistant", expr)

    def var_scope(self, name: str) -> Span:
        """`with s.var_scope("x"):` makes the text appended inside variable x."""
        if name in self._record.open_captures:
            raise ValueError(f"var_scope {name!r} is already open")
        return Span(self, Step(CaptureBegin(name)), Step(CaptureEnd(name)))

    # Branching

    def fork(self, size: int = 1) -> ForkGroup:
        """`size` branches that share everything so far and run side by side."""
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"fork needs a size of at least 1, got {size!r}")
        place = user_place()
        self._check_open("fork", place)
        records = self._interpreter.fork(self._record, size, place)
        return ForkGroup(self, [State(self._interpreter, self._run, r) for r in records])

    def copy(self) -> State:
        """A branch of its own that goes on from here: `with s.copy() as c:`."""
        return self.fork(1)[0]

    def cancel(self) -> None:
        """Stop this branch (the root: the whole program); pending values fail with Cancelled."""
        self._interpreter.cancel(None if self._record.id == ROOT else self._record.id)

    def close(self) -> None:
        """End this branch. The root ends the whole program and cancels what still runs.

        Values that arrived stay readable. Idempotent.
        """
        if self._record.id == ROOT:
            self._interpreter.close()
        else:
            self._interpreter.release(self._record, "this branch was closed")

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def _is_settled(self) -> Callable[[], bool]:
        """Whether everything is answered: to the end of the branch if that is certain to come."""
        record = self._record
        if self._run.is_followed() or record.closed_by is not None:
            return lambda: record.usage is not None
        num_ops = len(record.ops)
        return lambda: record.answered >= num_ops and record.was_forked()

    def sync(self) -> None:
        """Wait until everything appended so far is answered; raises nothing for a failed op.

        From outside a program run with stream=True: until the program ends.
        """
        self._interpreter.wait(self._is_settled())

    def error(self) -> BaseException | None:
        """What went wrong on this branch, or None. Waits like `sync`; raises nothing.

        The function's own exception where that was it, else the ProgramError of the first failed
        op or of the first value that does not parse.
        """
        self.sync()
        record = self._record
        if self._run.exception is not None:
            return self._run.exception
        values = [v for v in record.variables.values() if v.done]
        failures = [record.failure, *(v.failure() for v in values)]
        return next((f.error() for f in failures if f is not None), None)

    def text(self) -> str:
        """The whole text; ProgramError if a part of it failed (`text_iter` gives what there is)."""
        self.sync()
        return self._text()

    async def atext(self) -> str:
        """`text` without blocking the event loop."""
        await self._interpreter.wait_async(self._is_settled())
        return self._text()

    def _text(self) -> str:
        self._raise_failure()
        return "".join(chunk.text for chunk in self._record.text_chunks())

    def messages(self) -> list[dict[str, str]]:
        """The turns so far, each `{"role": ..., "content": ...}`; ProgramError like `text`."""
        self.sync()
        self._raise_failure()
        return self._record.messages()

    def _raise_failure(self) -> None:
        if self._record.failure is not None:
            raise self._record.failure.error()

    def __contains__(self, name: object) -> bool:
        return name in self._record.variables

    def _readable(self, name: str) -> Variable:
        exception = self._run.exception
        if exception is not None and name not in self:
            place = raised_at(exception.__traceback__)
            raise ProgramError(exception, op=f"variable {name!r}", location=render_place(place))
        variable = self._record.variable(name)
        if variable.is_open and name in self._record.open_captures:
            cause = RuntimeError("its var_scope is still open")
            raise ProgramError(cause, op=f"variable {name!r}", location=render_place(user_place()))
        return variable

    def __getitem__(self, name: str) -> Any:
        """The value of a variable, waiting for it.

        KeyError if it was never appended; ProgramError, with the cause, if it has no value, or if
        the function raised before it could append it.
        """
        variable = self._readable(name)
        if not variable.done:
            self._interpreter.wait(lambda: variable.done)
        return _value(variable)

    async def aget(self, name: str) -> Any:
        """`s[name]` without blocking the event loop."""
        variable = self._readable(name)
        await self._interpreter.wait_async(lambda: variable.done)
        return _value(variable)

    def get(self, name: str, default: Any = None) -> Any:
        """`s[name]`, or `default` if it was never appended."""
        return self[name] if name in self else default  # noqa: SIM401

    get_var = __getitem__
    set_var = __setitem__

    def names(self) -> list[str]:
        """The variables of this branch, in the order in which they were first appended or set."""
        return list(self._record.variables)

    def get_meta_info(self, name: str) -> MetaInfo:
        """How a value came about (with n > 1, its first). KeyError if it was not generated."""
        return self.get_meta_infos(name)[0]

    def get_meta_infos(self, name: str) -> list[MetaInfo]:
        """`get_meta_info` of each of n values."""
        _ = self[name]
        meta = [MetaInfo.of(m) for m in self._record.variable(name).meta]
        if not meta:
            raise KeyError(f"variable {name!r} was not generated, so there is nothing to tell")
        return meta

    @property
    def usage(self) -> Usage:
        """Tokens of all branches of the program that have ended; waits for them once it finished.

        `seed` is the root's, `queued_s` the longest of a branch, the counts are sums.
        """
        if self._record.closed_by is not None or self._run.is_followed():
            interpreter = self._interpreter
            interpreter.wait(lambda: all(r.usage is not None for r in interpreter.records()))
        return _total([r.usage for r in self._interpreter.records() if r.usage is not None])

    # Streaming

    def text_iter(self, name: str | None = None) -> Iterator[str]:
        """The text, or one variable's, piece by piece; joined they are the whole.

        From outside a program run with stream=True it lasts until the program ends, inside the
        program to what was appended so far. ProgramError at the end if an op failed.
        """
        cursor = self._cursor(name)
        while not cursor.is_ended:
            self._interpreter.wait(cursor.ready)
            yield from (chunk.text for chunk in cursor.take() if chunk.text)
        cursor.raise_failure()

    @overload
    def text_async_iter(
        self, name: str | None = None, return_meta_data: Literal[False] = False
    ) -> AsyncIterator[str]: ...
    @overload
    def text_async_iter(
        self, name: str | None, return_meta_data: Literal[True]
    ) -> AsyncIterator[tuple[str, Chunk]]: ...
    async def text_async_iter(
        self, name: str | None = None, return_meta_data: bool = False
    ) -> AsyncIterator[Any]:
        """`text_iter` for a running event loop; with meta data, pairs of text and Chunk."""
        cursor = self._cursor(name)
        while not cursor.is_ended:
            await self._interpreter.wait_async(cursor.ready)
            for chunk in cursor.take():
                if chunk.text:
                    yield (chunk.text, chunk) if return_meta_data else chunk.text
        cursor.raise_failure()

    def _cursor(self, name: str | None) -> TextCursor:
        settled = self._is_settled()
        return TextCursor(self._interpreter, self._record, name, settled, self._run.is_followed)


class Span:
    """A `with` scope that appends one op at its start and one at its end.

    The end is appended also when the body raises, so that the branch is never left half open.
    """

    __slots__ = ("_begin", "_end", "_state")

    def __init__(self, state: State, begin: Step, end: Step) -> None:
        self._state = state
        self._begin = begin
        self._end = end

    def __enter__(self) -> State:
        self._state._append(Expr((self._begin,)), user_place())
        return self._state

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._state._append(Expr((self._end,)), user_place())
        except (ProgramError, EngineClosed):
            if error is None:  # else the body's own error says more
                raise


def _role_after(role: str | None, steps: list[Step], place: Place | None) -> str | None:
    """The open role after `steps`; ProgramError, before anything is appended, if they nest."""
    for op, _ in steps:
        if isinstance(op, RoleBegin):
            if role is not None:
                cause = ValueError(f"role {op.role!r} begins inside role {role!r}")
                raise ProgramError(cause, op=render_op(op), location=render_place(place))
            role = op.role
        elif isinstance(op, RoleEnd):
            if role != op.role:
                opened = f"role {role!r} is open" if role else "no role is open"
                cause = ValueError(f"role {op.role!r} ends but {opened}")
                raise ProgramError(cause, op=render_op(op), location=render_place(place))
            role = None
    return role


def _value(variable: Variable) -> Any:
    if not variable.done:
        cause = EngineClosed("the session ended before this variable had a value")
        raise Failure(cause, f"variable {variable.name!r}", None).error()
    return variable.value()


def _total(usages: list[Usage]) -> Usage:
    """Counts added up; the seed is the first one's."""
    if not usages:
        return Usage(seed=0)
    counts = {f.name for f in fields(Usage)} - {"seed", "queued_s"}
    sums = {name: sum(getattr(u, name) for u in usages) for name in counts}
    return Usage(seed=usages[0].seed, queued_s=max(u.queued_s for u in usages), **sums)
