"""What becomes of a forward pass's logits: tokens are scored or drawn, and tasks told of it."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sestina.backend.sampling.sampler import Sampled, SampleRow, draw, sample, with_logprobs
from sestina.backend.scheduler.build import Plan
from sestina.backend.scheduler.drafting import Draft
from sestina.backend.scheduler.faults import as_sestina_error, failing
from sestina.backend.scheduler.rows import NO_ID, Ints, Rows
from sestina.backend.scheduler.scoring import score_known_tokens
from sestina.backend.scheduler.sequence import NEVER, GuessingTask, Sequence, Task
from sestina.lang.errors import InternalError


def deliver(rows: Rows, plan: Plan, logits: Tensor) -> None:
    """Score and draw; the tasks append tokens, finish, or take up their next op.

    logits: [N, V] float32 of the plan's rows. Cost: a few numpy calls, and Python for those tasks
    alone that have to be asked or told. A task may stop others from within a callback.
    """
    _score(rows, plan, logits)
    is_complete = rows.is_active[plan.rows]
    is_complete &= rows.num_pending(plan.rows) <= 0
    draws = is_complete & rows.wants_sample[plan.rows]
    done = plan.rows[is_complete & ~draws]
    finished = [_holder(rows, row) for row in done.tolist()]
    rows.is_active[done] = False
    last = plan.num_logits.cumsum() - 1 - plan.num_guessed  # [B], of each row's own logits
    if np.count_nonzero(plan.num_guessed):
        ahead = draws & (plan.num_guessed > 0)
        draws &= ~ahead
        _draw_ahead(rows, plan.rows[ahead].tolist(), logits, last[ahead].tolist())
    _draw(rows, plan.rows[draws], logits, last[draws])
    for sequence, task in finished:
        if sequence.task is task:  # nobody stopped it meanwhile
            with failing(task):
                task.on_computed()


def _holder(rows: Rows, row: int) -> tuple[Sequence, Task]:
    """Whose row it is, while it is active."""
    sequence = rows.sequences[row]
    if sequence is None or sequence.task is None:
        raise InternalError(f"row {row} is computed for no task")
    return sequence, sequence.task


def _score(rows: Rows, plan: Plan, logits: Tensor) -> None:
    ends = plan.num_logits.cumsum()  # [B]
    for b in (rows.score_from[plan.rows] < NEVER).nonzero()[0].tolist():
        row = int(plan.rows[b])
        if not rows.is_active[row]:
            continue
        sequence, task = _holder(rows, row)
        scored = logits[int(ends[b] - plan.num_logits[b]) : int(ends[b] - plan.num_guessed[b])]
        rows.is_active[row] = False
        with failing(task):
            score_known_tokens(sequence, task, scored, int(plan.logits_from[b]))
            if sequence.task is task:
                rows.refresh(sequence)


def _draw(rows: Rows, some: Ints, logits: Tensor, places: Ints) -> None:
    """Draw one token per row from logits[places]; a task that cannot say how fails alone."""
    changes = _ask(rows, some)
    is_left = rows.is_active[some]
    if np.count_nonzero(is_left) < len(some):
        kept = is_left.nonzero()[0].tolist()
        changes = {new: changes[old] for new, old in enumerate(kept) if old in changes}
        some, places = some[is_left], places[is_left]
    if not len(some):
        return
    drawn = _draw_all(rows, some, logits, places, changes)
    is_quiet = rows.append_quietly(some, drawn.ids)
    if np.count_nonzero(is_quiet) < len(some):
        _tell(rows, some, logits, places, drawn, (~is_quiet).nonzero()[0])


def _ask(rows: Rows, some: Ints) -> dict[int, SampleRow]:
    """Have the masks written that are due; returns, by place, how tasks want logits changed."""
    is_changed = rows.lens[some] < rows.changed_until[some]
    changes: dict[int, SampleRow] = {}
    for b in (is_changed | rows.is_mask_due[some]).nonzero()[0].tolist():
        row = some.item(b)
        if not rows.is_active[row]:
            continue  # stopped by an earlier one
        _, task = _holder(rows, row)
        try:
            mask = rows.masks[row] if rows.has_mask[row] else None
            if mask is not None:
                task.fill_mask(mask)
                rows.is_mask_due[row] = False
            if is_changed[b]:
                changes[b] = task.sample_row(mask)
        except Exception as error:
            rows.is_active[row] = False
            task.on_error(as_sestina_error(error))
    return changes


class _Drawn(NamedTuple):
    """See `kernels.masked_sampling.Drawn`; errors by place, where the id is NO_ID."""

    ids: NDArray[np.int32]
    masked_mass: NDArray[np.float32]
    errors: dict[int, Exception]


def _draw_all(
    rows: Rows, some: Ints, logits: Tensor, places: Ints, changes: dict[int, SampleRow]
) -> _Drawn:
    """Where drawing raises for the batch, each row is tried alone: only those fail that have to."""
    mask_rows = np.where(rows.has_mask[some], some, -1).astype(np.int32)
    try:
        settings = rows.settings(some)
        return _Drawn(*draw(logits, places, settings, rows.masks, mask_rows, changes), {})
    except Exception as error:
        if len(some) == 1:
            return _Drawn(np.full(1, NO_ID, np.int32), np.zeros(1, np.float32), {0: error})
    alone = [
        _draw_all(
            rows,
            some[b : b + 1],
            logits,
            places[b : b + 1],
            {0: changes[b]} if b in changes else {},
        )
        for b in range(len(some))
    ]
    return _Drawn(
        np.concatenate([one.ids for one in alone]),
        np.concatenate([one.masked_mass for one in alone]),
        {b: one.errors[0] for b, one in enumerate(alone) if one.errors},
    )


def _tell(rows: Rows, some: Ints, logits: Tensor, places: Ints, drawn: _Drawn, which: Ints) -> None:
    """Tell the tasks of some[which] what was drawn for them, from logits[places[which]]."""
    told = some[which]
    holders = [_holder(rows, row) for row in told.tolist()]
    ids, masses = drawn.ids[which].tolist(), drawn.masked_mass[which].tolist()
    sampled = [Sampled(i, None, (), mass) for i, mass in zip(ids, masses, strict=True)]
    if np.count_nonzero(rows.wants_logprob[told]):
        params = [task.drawing.params for _, task in holders]
        sampled = with_logprobs(sampled, logits, places[which], params)
    rows.is_active[told] = False
    for i, (sequence, task) in enumerate(holders):
        if sequence.task is not task:
            continue  # stopped by an earlier one
        try:
            if drawn.errors and (error := drawn.errors.get(int(which[i]))) is not None:
                raise error
            task.on_sampled(sampled[i])
        except Exception as error:
            task.on_error(as_sestina_error(error))


def _draw_ahead(rows: Rows, some: list[int], logits: Tensor, places: list[int]) -> None:
    """Draw the next token of each row, and those after its guesses, from logits[places] and what
    follows them. A task that cannot say how, or to draw, fails alone."""
    wanted: list[tuple[Sequence, GuessingTask, Draft, int]] = []  # and the first of its draws
    sample_rows: list[SampleRow] = []
    picked: list[int] = []
    for row, place in zip(some, places, strict=True):
        if not rows.is_active[row]:
            continue  # stopped by one before
        (sequence, _), (task, draft) = _holder(rows, row), rows.drafts[row]
        rows.is_active[row] = False
        with failing(task):
            own = task.sample_rows(draft)
            wanted.append((sequence, task, draft, len(picked)))
            sample_rows += own
            picked += [place + offset for offset in draft.draws[: len(own)]]
    if not wanted:
        return
    drawn: list[Sampled] | None = None
    with suppress(Exception):  # where drawing raises for all, each is tried alone
        drawn = sample(logits, sample_rows, picked)
    ends = [*(first for _, _, _, first in wanted[1:]), len(picked)]
    for (sequence, task, draft, first), end in zip(wanted, ends, strict=True):
        if sequence.task is not task:
            continue  # stopped by an earlier one
        with failing(task):
            if drawn is None:
                end = first + 1
                alone = sample(logits, sample_rows[first:end], picked[first:end])
                task.on_drawn_ahead(draft, alone)
            else:
                task.on_drawn_ahead(draft, drawn[first:end])
