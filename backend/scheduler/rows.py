"""The admitted sequences as rows of arrays, so that a step costs a few numpy calls for all of them.

What changes with every token lies here, one entry per row: a plain decode step reads and writes
arrays, and Python runs for a single sequence only where something happens to it (see
`delivery.deliver`). Row numbers are those of the page table.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from sestina.backend.scheduler.drafting import Draft
from sestina.backend.scheduler.sequence import NEVER, Drawing, GuessingTask, Sequence, Task
from sestina.kernels.masked_sampling import RowSettings
from sestina.lang.errors import InternalError

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_ID = -1

SETTLE_TOKENS = 32
"""A row's work is booked on its program when it ends, or is this much: policies need to know it
only roughly (a level is LEVEL_TOKENS wide)."""


class Rows:
    """R rows. A row is taken from `enter` to `leave`; it is active while its task wants something
    computed, that is from `refresh` until the task is told.

    tokens int32 [R, S] and lens int64 [R] are the memory of the sequences themselves, computed_lens
    [R] that of their KV handles. The other arrays are copies of what a task said at `refresh`.
    """

    def __init__(self, num_rows: int, max_len: int, computed_lens: Ints) -> None:
        self.tokens = np.zeros((num_rows, max_len), np.int32)
        self.lens = np.zeros(num_rows, np.int64)
        self.computed_lens = computed_lens
        self.sequences: list[Sequence | None] = [None] * num_rows
        self.is_active = np.zeros(num_rows, np.bool_)
        self.wants_sample = np.zeros(num_rows, np.bool_)
        self.score_from = np.full(num_rows, NEVER, np.int64)
        self.text_ends = np.zeros(num_rows, np.int64)
        self.masks = np.zeros((num_rows, 0), np.int32)  # [R, W]
        self.has_mask = np.zeros(num_rows, np.bool_)
        self.is_mask_due = np.zeros(num_rows, np.bool_)
        self.changed_until = np.zeros(num_rows, np.int64)
        self.wants_logprob = np.zeros(num_rows, np.bool_)
        self.drafts: dict[int, tuple[GuessingTask, Draft]] = {}  # by row
        self._tasks: list[Task | None] = [None] * num_rows
        self._orders = np.zeros(num_rows, np.int64)
        self._num_passes = np.zeros(num_rows, np.int64)  # not yet settled
        self._num_served = np.zeros(num_rows, np.int64)  # tokens of these passes
        self._settings = _no_settings(num_rows)
        self._quiet_until = np.zeros(num_rows, np.int64)
        self._watched = np.zeros((num_rows, 0), np.int32)  # [R, W]

    # ---- coming and going

    def enter(self, sequence: Sequence) -> None:
        """Take the row of an admitted sequence, whose tokens from now on lie in it."""
        row = self._row(sequence)
        sequence.move(self.tokens[row], self.lens[row : row + 1])
        self.sequences[row] = sequence
        self._orders[row] = sequence.order
        self.refresh(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Give the row back, before the sequence's KV handle is."""
        row = self._row(sequence)
        self.settle(row)
        sequence.note_reached()
        if sequence.lies_in(self.tokens):
            sequence.move(np.empty(len(sequence) + 64, np.int32), np.zeros(1, np.int64))
        self.drafts.pop(row, None)
        self.sequences[row] = self._tasks[row] = None
        self.is_active[row] = False

    def refresh(self, sequence: Sequence) -> int:
        """Ask the task again what it wants of the present tokens; the row is active from here.

        Returns `Sequence.match_limit`.
        """
        row, task = self._row(sequence), sequence.task
        if task is None:
            raise InternalError("a sequence is computed for no task")
        if not sequence.lies_in(self.tokens):  # it had outgrown the row
            sequence.move(self.tokens[row], self.lens[row : row + 1])
        if self._tasks[row] is not task:
            self._set_task(row, sequence, task)
        score_from = NEVER if (asked := task.score_from) is None else asked
        self.wants_sample[row] = wants_sample = task.wants_sample
        self.score_from[row] = score_from
        self._quiet_until[row] = task.quiet_until
        self.is_mask_due[row] = self.has_mask[row]
        self.is_active[row] = True
        return max(0, min(self.lens.item(row) - (1 if wants_sample else 2), score_from - 1))

    def redraw(self, sequence: Sequence, task: Task) -> None:
        """The task draws in another way from its next token on: ask it again how."""
        row = self._row(sequence)
        if self._tasks[row] is task:
            self._set_drawing(row, task.drawing)

    def held_by(self, rows: Ints) -> list[Sequence]:
        """The sequences of rows that are taken."""
        return [s for s in map(self.sequences.__getitem__, rows.tolist()) if s is not None]

    def _row(self, sequence: Sequence) -> int:
        if sequence.kv is None:
            raise InternalError("a sequence that is not admitted has no row")
        return sequence.kv.row

    def _set_task(self, row: int, sequence: Sequence, task: Task) -> None:
        self.settle(row)
        self._tasks[row] = task
        self.text_ends[row] = sequence.text_end
        self.has_mask[row] = False
        if task.wants_sample:
            self._set_drawing(row, task.drawing)

    def _set_drawing(self, row: int, drawing: Drawing) -> None:
        for name in _SETTINGS:
            getattr(self._settings, name)[row] = getattr(drawing.settings, name)[0]
        self.changed_until[row] = drawing.changed_until
        self.wants_logprob[row] = bool(drawing.params.return_logprob)
        self.has_mask[row] = drawing.num_mask_words > 0
        self.masks = _widened(self.masks, drawing.num_mask_words)
        watched = _NOTHING if drawing.watched is None else drawing.watched
        self._watched = _widened(self._watched, len(watched))
        self._watched[row, : len(watched)] = watched
        self._watched[row, len(watched) :] = 0

    # ---- what is to be computed

    def due(self) -> Ints:
        """The rows that have tokens to compute, oldest sequence first, int64 [B]."""
        active = self.is_active.nonzero()[0]
        rows: Ints = active[self.num_pending(active) > 0]
        return rows[self._orders[rows].argsort()] if len(rows) > 1 else rows

    def num_pending(self, rows: Ints) -> Ints:
        """Tokens that active rows still have to compute, int64 [B]; see `Sequence.num_wanted`."""
        pending: Ints = self.lens[rows] - ~self.wants_sample[rows] - self.computed_lens[rows]
        return pending

    def logits_from(self, rows: Ints, starts: Ints, ends: Ints) -> Ints:
        """First token of each row's [start, end) whose logits its task needs; `end` if none.

        The logits of token p predict token p + 1: they score it where it is known and wanted, or
        draw it where p is the last token.
        """
        draws = self.wants_sample[rows] & (ends == self.lens[rows])
        scores = np.maximum(starts, self.score_from[rows] - 1)
        first: Ints = np.minimum(ends - draws, scores)
        return first

    def put_guesses(self, rows: Ints, sizes: Ints, room: int) -> Ints:
        """Put drafts behind the tokens of those rows that are at their end with these sizes, up to
        `room` tokens each; returns how many of them, int64 [B]."""
        num_guessed = np.zeros(len(rows), np.int64)
        starts = self.computed_lens[rows]
        # Text is published as soon as it is computed, guesses must not be.
        may_guess = (starts + sizes == self.lens[rows]) & (starts >= self.text_ends[rows])
        for b in np.flatnonzero(may_guess).tolist():
            row = int(rows[b])
            if row in self.drafts:
                task, draft = self.drafts[row]
                draft = draft.within(room)
                self.drafts[row] = task, draft
                end = self.lens.item(row)
                self.tokens[row, end : end + len(draft.ids)] = draft.ids
                num_guessed[b] = len(draft.ids)
        return num_guessed

    # ---- what was computed

    def count_pass(self, rows: Ints, sizes: Ints) -> None:
        """A forward pass computed so many tokens of these rows."""
        self._num_passes[rows] += 1
        self._num_served[rows] += sizes
        for row in rows[self._num_served[rows] >= SETTLE_TOKENS].tolist():
            self.settle(row)

    def settle(self, row: int) -> None:
        """Book on the row's task and program what passes computed for it."""
        task, sequence = self._tasks[row], self.sequences[row]
        if task is not None:
            task.counters.forward_passes += self._num_passes.item(row)
        if sequence is not None:
            sequence.account.service += self._num_served.item(row)
        self._num_passes[row] = self._num_served[row] = 0

    def settings(self, rows: Ints) -> RowSettings:
        """How to draw the next token of each row."""
        taken = RowSettings(*(getattr(self._settings, name)[rows] for name in _SETTINGS))
        np.subtract(self.lens[rows], taken.positions, out=taken.positions)
        return taken

    def append_quietly(self, rows: Ints, ids: NDArray[np.int32]) -> Flags:
        """Append each row's token, int32 [B], where its task need not be told; bool [B]."""
        lens = self.lens[rows]
        is_quiet = lens < self._quiet_until[rows]
        is_quiet &= ids != NO_ID
        if np.count_nonzero(is_quiet):
            is_quiet &= ~self._is_watched(rows, ids)
            if np.count_nonzero(is_quiet) < len(rows):
                rows, lens, ids = rows[is_quiet], lens[is_quiet], ids[is_quiet]
            self.tokens[rows, lens] = ids
            self.lens[rows] = lens + 1
        return is_quiet

    def _is_watched(self, rows: Ints, ids: NDArray[np.int32]) -> Flags:
        words = ids >> 5
        if np.count_nonzero(words >= self._watched.shape[1]):  # ids beyond all sets
            self._watched = _widened(self._watched, int(words.max()) + 1)
        bits: NDArray[np.int32] = self._watched[rows, words] >> (ids & 31)
        return (bits & 1).astype(np.bool_)


_SETTINGS = tuple(field.name for field in fields(RowSettings))

_NOTHING = np.zeros(0, np.int32)
_NOTHING.flags.writeable = False


def _widened(words: NDArray[np.int32], num_words: int) -> NDArray[np.int32]:
    """At least so many columns; new ones are zero."""
    missing = num_words - words.shape[1]
    return np.pad(words, ((0, 0), (0, missing))) if missing > 0 else words


def _no_settings(num_rows: int) -> RowSettings:
    return RowSettings(
        temperature=np.zeros(num_rows, np.float32),
        top_k=np.zeros(num_rows, np.int32),
        top_p=np.zeros(num_rows, np.float32),
        min_p=np.zeros(num_rows, np.float32),
        seeds=np.zeros(num_rows, np.uint64),
        positions=np.zeros(num_rows, np.int64),
    )
