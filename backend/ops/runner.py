"""Executes the ops of branches: one method per op, chosen by a table.

A branch runs ops until one has to wait (for the model, a compile, or other branches); whatever it
waited for calls back and the branch goes on within the same step of the scheduler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sestina.backend.branch import NO_TEXT, ActiveOp, Branch, Prepared, QueuedOp
from sestina.backend.core import Core
from sestina.backend.ops.gen import GenOp
from sestina.backend.ops.healing import text_after
from sestina.backend.ops.host import ProgramHost, Value
from sestina.backend.ops.join import gathered
from sestina.backend.ops.select import Selection, SelectResult
from sestina.backend.scheduler.faults import as_sestina_error, caused_by
from sestina.backend.scheduler.sequence import Counters
from sestina.lang import ir
from sestina.lang.errors import InvalidParams, SestinaError, UnsupportedNode
from sestina.lang.session import Chunk, Done, Failed, GenMeta


class OpRunner:
    """Runs the ops of one program's branches."""

    def __init__(self, core: Core, program: ProgramHost) -> None:
        self._core = core
        self._program = program
        self._ready: deque[Branch] = deque()
        self._is_draining = False
        self._table: Mapping[type, Callable[[Branch, QueuedOp, Any], None]] = {
            ir.Text: self._text,
            ir.Ids: self._ids,
            ir.Gen: self._gen,
            ir.Select: self._select,
            ir.RoleBegin: self._role_begin,
            ir.RoleEnd: self._role_end,
            ir.Fork: self._fork,
            ir.Join: self._join,
            ir.CaptureBegin: self._capture_begin,
            ir.CaptureEnd: self._capture_end,
            ir.SetVar: self._set_var,
            ir.Release: self._release,
        }

    # ---- the loop of a branch

    def advance(self, branch: Branch) -> None:
        """Run the branch's ops until it waits, has none left, or has failed.

        Branches take turns rather than call each other: forks may be nested to any depth.
        """
        if branch.is_advancing:
            return
        branch.is_advancing = True
        self._ready.append(branch)
        if self._is_draining:
            return
        self._is_draining = True
        try:
            while self._ready:
                self._advance(self._ready.popleft())
        finally:
            self._is_draining = False

    def _advance(self, branch: Branch) -> None:
        try:
            while branch.can_run and not self._program.is_paused:
                self._run(branch, branch.ops.popleft())
        finally:
            branch.is_advancing = False
        if branch.sequence.task is None:
            # Nothing to compute for now: its KV stays cached, but no longer takes a row.
            self._core.scheduler.remove(branch.sequence)
        if branch.is_idle:
            self._program.on_idle(branch)

    def _run(self, branch: Branch, queued: QueuedOp) -> None:
        execute = self._table.get(type(queued.op))
        try:
            if execute is None:
                raise UnsupportedNode("the engine", type(queued.op).__name__)
            if branch.is_released and not isinstance(queued.op, ir.Release):
                raise InvalidParams(
                    f"branch {branch.id!r} was released: no more ops may come on it"
                )
            execute(branch, queued, queued.op)
        except ValueError as error:
            # Tokenizers refuse text that they cannot write.
            known = error if isinstance(error, SestinaError) else InvalidParams(str(error))
            self.fail(branch, queued, caused_by(known, error))
        except Exception as error:
            self.fail(branch, queued, as_sestina_error(error))

    def _wait(self, branch: Branch, queued: QueuedOp) -> Callable[[], None]:
        """The op waits for something that is not the model; calling the result runs it again."""

        def again() -> None:
            if branch.active is not None and branch.active.queued is queued:
                branch.active = None
                branch.ops.appendleft(queued)
                self.advance(branch)

        branch.active = ActiveOp(queued, lambda: None)
        return again

    def fail(self, branch: Branch, queued: QueuedOp | None, error: SestinaError) -> None:
        """Answer `queued` and every later op of the branch with the error.

        Branches that it would have started fail with it; others are untouched.
        """
        failing = [(branch, queued)]
        for each, first in failing:  # grows meanwhile
            if each.active is not None:
                each.active.cancel()
                first = first or each.active.queued
                each.active = None
            if each.error is None:
                each.error = error
            each.sequence.task = None
            each.sequence.keeps_lease = False
            unanswered = [*([first] if first is not None else []), *each.ops]
            each.ops.clear()
            for op in unanswered:
                children = self._refuse(each, op, error)
                failing += [(self._program.branch(child_id), None) for child_id in children]
            self.advance(each)

    def _refuse(self, branch: Branch, queued: QueuedOp, error: SestinaError) -> tuple[str, ...]:
        """Answer one op of a failed branch; returns the branches that it would have started."""
        if queued.prepared is not None:
            queued.prepared.cancel()  # nobody needs it compiled any more
        self._program.emit(Failed(branch.id, queued.index, error))
        if isinstance(queued.op, ir.Release):
            branch.is_released = True
        return queued.op.children if isinstance(queued.op, ir.Fork) else ()

    def finish(
        self,
        branch: Branch,
        queued: QueuedOp,
        name: str | None = None,
        value: Value = None,
        meta: Sequence[GenMeta] = (),
    ) -> None:
        """Answer an op and let the branch go on."""
        branch.active = None
        self._program.emit(Done(branch.id, queued.index, name, value, tuple(meta)))
        self.advance(branch)

    def spend(self, branch: Branch, counters: Counters) -> None:
        """Book an op's cost on its branch and on the engine."""
        branch.counters.add(counters)
        self._core.totals.add(counters)

    # ---- text

    def _append(self, branch: Branch, index: int, name: str | None, text: str) -> None:
        """Text that is yet to be tokenised, together with whatever text follows."""
        if text:
            text.encode()  # refuses a lone surrogate here, rather than in a later op
            branch.append_text(text)
            branch.untokenised.append(text)
            self._program.emit(Chunk(branch.id, index, name, text))

    def flush(self, branch: Branch) -> None:
        """Tokenise the pending text in one piece."""
        text = "".join(branch.untokenised)
        branch.untokenised.clear()
        if text:
            self._begin_tokens(branch)
            start = len(branch.sequence)
            branch.sequence.append(self._core.tokenizer.encode(text), is_text=True)
            branch.text_run = start, len(branch.sequence)

    def _begin_tokens(self, branch: Branch) -> None:
        bos_id = self._core.tokenizer.bos_id
        if bos_id is not None and not len(branch.sequence):
            branch.sequence.append((bos_id,), is_text=True)

    def _append_from(self, branch: Branch, queued: QueuedOp, child: Branch) -> None:
        """Append what `child` wrote since its fork, as the tokens it was written in."""
        self.flush(branch)
        ids = child.sequence.tokens[child.fork_token_start :].tolist()
        if child.fork_overlap:
            rest, ids = text_after(self._core.tokenizer, ids, child.fork_overlap)
            branch.untokenised.append(rest)
            self.flush(branch)
        branch.sequence.append(ids, is_text=True)
        branch.text_run = NO_TEXT
        branch.untokenised += child.untokenised
        text = child.text[child.fork_text_start :]
        branch.append_text(text)
        self._program.emit(Chunk(branch.id, queued.index, None, text))

    def _text(self, branch: Branch, queued: QueuedOp, op: ir.Text) -> None:
        for part in op.parts:
            text = part if isinstance(part, str) else self._variable(branch, part.name)
            self._append(branch, queued.index, None, text)
        self.finish(branch, queued)

    def _variable(self, branch: Branch, name: str) -> str:
        if name not in branch.variables:
            known = ", ".join(branch.variables) or "none"
            raise InvalidParams(f"no variable {name!r} on this branch; set so far: {known}")
        return branch.variables[name]

    def _ids(self, branch: Branch, queued: QueuedOp, op: ir.Ids) -> None:
        vocab_size = self._core.scheduler.model.config.vocab_size
        for token_id in op.ids:
            if not 0 <= token_id < vocab_size:
                raise InvalidParams(f"token id {token_id} is outside the vocabulary ({vocab_size})")
        self.flush(branch)
        branch.sequence.append(op.ids, is_text=True)
        text = self._core.tokenizer.decode(op.ids)
        branch.append_text(text)
        self._program.emit(Chunk(branch.id, queued.index, None, text, op.ids))
        self.finish(branch, queued)

    # ---- turns

    def _role_begin(self, branch: Branch, queued: QueuedOp, op: ir.RoleBegin) -> None:
        if branch.open_role is not None:
            raise InvalidParams(
                f"role {op.role!r} begins inside role {branch.open_role!r}: end that one first"
            )
        encode = self._core.tokenizer.encode
        if encode(op.role, allow_control=True) != encode(op.role):
            raise InvalidParams(f"role {op.role!r} spells a control token")
        history = [{"role": role} for role in branch.roles]
        prefix, suffix = self._core.turns.markup(history, op.role)
        self._markup(branch, queued.index, prefix)
        branch.open_role, branch.role_suffix = op.role, suffix
        self.finish(branch, queued)

    def _role_end(self, branch: Branch, queued: QueuedOp, op: ir.RoleEnd) -> None:
        if branch.open_role != op.role:
            raise InvalidParams(f"role {op.role!r} ends, but {branch.open_role!r} is open")
        branch.roles = (*branch.roles, op.role)
        branch.open_role = None
        self._markup(branch, queued.index, branch.role_suffix)
        self.finish(branch, queued)

    def _markup(self, branch: Branch, index: int, text: str) -> None:
        """Text of the chat template: the only place where control tokens come from."""
        self.flush(branch)
        branch.sequence.append(self._core.tokenizer.encode(text, allow_control=True), is_text=True)
        branch.append_text(text)
        self._program.emit(Chunk(branch.id, index, None, text))

    # ---- the model

    def _gen(self, branch: Branch, queued: QueuedOp, op: ir.Gen) -> None:
        self.flush(branch)
        if not len(branch.sequence):
            raise InvalidParams("gen needs some text before it: the text is empty")
        if queued.prepared is None or queued.prepared.done():
            self._begin_gen(branch, queued, op)
            return
        again = self._wait(branch, queued)
        queued.prepared.add_done_callback(lambda _: self._program.post(again))

    def _begin_gen(self, branch: Branch, queued: QueuedOp, op: ir.Gen) -> None:
        params = self._core.resolve(self._program.defaults, op.params)
        self._core.scheduler.require_room(len(branch.sequence) + (params.max_tokens or 0))
        prepared = Prepared(None, ()) if queued.prepared is None else queued.prepared.result()
        gen = GenOp(self._core, self._program, self, branch, queued, params, prepared)
        branch.active = ActiveOp(queued, gen.cancel)
        gen.begin()

    def _select(self, branch: Branch, queued: QueuedOp, op: ir.Select) -> None:
        self.flush(branch)

        def on_result(result: SelectResult) -> None:
            self.spend(branch, selection.counters)
            branch.sequence.append(result.ids, is_text=False)
            branch.append_text(result.text)
            self._program.emit(Chunk(branch.id, queued.index, op.name, result.text, result.ids))
            if op.name is not None:
                branch.set_variable(op.name, result.text)
            self.finish(branch, queued, op.name, result.text, (result.meta,))

        def on_error(error: SestinaError) -> None:
            self.fail(branch, queued, error)

        core = self._core
        selection = Selection(
            op, branch.sequence, core.tokenizer, core.scheduler, on_result, on_error
        )
        core.scheduler.require_room(len(branch.sequence) + selection.longest)
        # What is computed so far must be in the tree for the options to share it.
        core.scheduler.remove(branch.sequence)

        def cancel() -> None:
            selection.cancel()
            self.spend(branch, selection.counters)

        branch.active = ActiveOp(queued, cancel)
        selection.begin()

    # ---- branches and variables

    def _fork(self, branch: Branch, queued: QueuedOp, op: ir.Fork) -> None:
        self.flush(branch)
        self._core.scheduler.remove(branch.sequence)  # publishes what is computed
        children = [self._program.branch(child_id) for child_id in op.children]
        for child in children:
            child.be_born(branch)
        self.finish(branch, queued)
        for child in children:
            self.advance(child)

    def _join(self, branch: Branch, queued: QueuedOp, op: ir.Join) -> None:
        children = [self._program.branch(child_id) for child_id in op.children]
        for child in children:
            if child.parent is not branch:
                raise InvalidParams(
                    f"branch {child.id!r} is no child of {branch.id!r} to be joined"
                )
        busy = next((child for child in children if not child.is_idle), None)
        if busy is not None:
            busy.waiters.append(self._wait(branch, queued))
            return
        cause = next((child.error for child in children if child.error is not None), None)
        if cause is not None:
            self.fail(branch, queued, cause)
        elif op.mode == "gather_variable":
            self.finish(branch, queued, None, gathered(children))
        else:
            for child in children:
                self._append_from(branch, queued, child)
            self.finish(branch, queued)

    def _capture_begin(self, branch: Branch, queued: QueuedOp, op: ir.CaptureBegin) -> None:
        branch.captures[op.name] = branch.text_len
        self.finish(branch, queued)

    def _capture_end(self, branch: Branch, queued: QueuedOp, op: ir.CaptureEnd) -> None:
        if op.name not in branch.captures:
            raise InvalidParams(f"capture {op.name!r} ends but never began")
        value = branch.text[branch.captures.pop(op.name) :]
        branch.set_variable(op.name, value)
        self.finish(branch, queued, op.name, value)

    def _set_var(self, branch: Branch, queued: QueuedOp, op: ir.SetVar) -> None:
        branch.set_variable(op.name, op.value)
        self.finish(branch, queued, op.name, op.value)

    def _release(self, branch: Branch, queued: QueuedOp, op: ir.Release) -> None:
        branch.is_released = True
        self.finish(branch, queued)
