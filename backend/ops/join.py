"""The op `Join`: wait for child branches, then bring what they made into the parent."""

from __future__ import annotations

from collections.abc import Sequence

from sestina.backend.branch import Branch, QueuedOp
from sestina.backend.ops.host import OpHost
from sestina.lang import ir


class JoinOp:
    """Waits until every child has answered all that was submitted to it before."""

    def __init__(
        self,
        runner: OpHost,
        branch: Branch,
        queued: QueuedOp,
        op: ir.Join,
        children: Sequence[Branch],
    ) -> None:
        self._runner = runner
        self._branch = branch
        self._queued = queued
        self._op = op
        self._children = children
        self._is_over = False

    def begin(self) -> None:
        self._check()

    def cancel(self) -> None:
        self._is_over = True

    def _check(self) -> None:
        if self._is_over:
            return
        busy = next((child for child in self._children if not child.is_idle), None)
        if busy is not None:
            busy.waiters.append(self._check)
            return
        self._is_over = True
        failed = next((child for child in self._children if child.error is not None), None)
        if failed is not None and failed.error is not None:
            self._runner.fail(self._branch, self._queued, failed.error)
        elif self._op.mode == "gather_variable":
            self._gather()
        else:
            self._concatenate()

    def _gather(self) -> None:
        """Lists aligned with the children, a name at its first appearance among them."""
        names = dict.fromkeys(name for child in self._children for name in child.own_names)
        value: dict[str, list[str | None]] = {
            name: [
                child.variables[name] if name in child.own_names else None
                for child in self._children
            ]
            for name in names
        }
        self._runner.finish(self._branch, self._queued, None, value)

    def _concatenate(self) -> None:
        """Append what each child wrote since the fork, as the tokens it was written in."""
        for child in self._children:
            self._runner.append_from(self._branch, self._queued, child)
        self._runner.finish(self._branch, self._queued)
