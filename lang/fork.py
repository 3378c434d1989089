"""ForkGroup: branches that grew from one point, handled together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, get_args, overload

from sestina.lang.branch_record import BranchRecord
from sestina.lang.errors import InternalError, InvalidParams
from sestina.lang.expression import Expr, Part
from sestina.lang.ir import Join, JoinMode
from sestina.lang.location import user_place
from sestina.lang.variable import Variable

if TYPE_CHECKING:
    from sestina.lang.state import State


class ForkGroup:
    """The branches of one `fork`: iterate, index, append to all with `+=`, then `join`.

    As a `with` scope it joins at the end, and cancels its branches if the body raised.
    """

    __slots__ = ("_is_joined", "_parent", "_states")

    def __init__(self, parent: State, states: list[State]) -> None:
        self._parent = parent
        self._states = states
        self._is_joined = False

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[State]:
        return iter(self._states)

    @overload
    def __getitem__(self, index: int) -> State: ...
    @overload
    def __getitem__(self, index: slice) -> list[State]: ...
    def __getitem__(self, index: int | slice) -> State | list[State]:
        return self._states[index]

    def __setitem__(self, index: int, state: State) -> None:
        """Only what `group[i] += part` does: put back the same branch."""
        if self._states[index] is not state:
            raise TypeError("a branch of a fork cannot be replaced; append to it with +=")

    def __iadd__(self, part: Part | Callable[[int], Part]) -> ForkGroup:
        """Append to every branch: one part for all, a list with one each, or a function of i."""
        for state, item in zip(self._states, self._parts(part), strict=True):
            state.append(item)
        return self

    def _parts(self, part: Part | Callable[[int], Part]) -> Sequence[Part]:
        size = len(self._states)
        if isinstance(part, (list, tuple)):
            if len(part) != size:
                raise ValueError(f"{len(part)} parts for {size} branches")
            return part
        if callable(part) and not isinstance(part, Expr):
            return [part(i) for i in range(size)]
        return [part] * size

    def join(self, mode: JoinMode = "gather_variable") -> None:
        """End the branches and bring their results to the parent. Idempotent; never waits.

        gather_variable: every variable that a branch set becomes a list in the parent, one element
        per branch in order, None where a branch did not set it; an older value of that name is
        replaced. concate_and_append: the text of each branch since the fork is appended, in order.
        A branch that failed fails what is read from the join, with its cause; branches that did
        not keep their own variables and text.
        """
        if mode not in get_args(JoinMode):
            raise InvalidParams(
                f"unknown join mode {mode!r}; known: {', '.join(get_args(JoinMode))}"
            )
        if self._is_joined:
            return
        place = user_place()
        parent, interpreter = self._parent._record, self._parent._interpreter
        self._parent._check_open("join", place)
        records = [state._record for state in self._states]
        for record in records:
            interpreter.release(record, "this branch was joined")
        op = Join(tuple(record.id for record in records), mode)
        gathered = _gathered(records) if mode == "gather_variable" else ()
        interpreter.submit_op(parent, op, gathered, place)
        self._is_joined = True

    def __enter__(self) -> ForkGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.join()
        else:
            for state in self._states:
                state.cancel()


def _gathered(records: Sequence[BranchRecord]) -> tuple[Variable, ...]:
    """A list variable for every name that any branch set, in the order they were first set."""
    names = dict.fromkeys(name for record in records for name in record.names_set)
    return tuple(_gather(name, records) for name in names)


def _gather(name: str, records: Sequence[BranchRecord]) -> Variable:
    variables = [r.variables[name] if name in r.names_set else None for r in records]

    def values(_: Any) -> list[Any]:
        if any(v is not None and not v.done for v in variables):
            raise InternalError(f"a join was answered before variable {name!r} of its branches")
        return [None if v is None else v.value() for v in variables]

    return Variable(name, decode=values)
