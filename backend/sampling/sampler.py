"""One sampling step for a batch: logits and each row's wishes in, one token per row out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sestina.backend.sampling.penalties import TokenIds, changes_logits, forbid, penalise
from sestina.kernels.masked_sampling import (
    Drawn,
    RowSettings,
    logprobs_of,
    masked_sample,
    top_logprobs,
)
from sestina.lang.params import SamplingParams

_NO_MASK = np.empty((0, 0), dtype=np.int32)
_NO_MASK.flags.writeable = False


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What one row of the batch wants. `params` are resolved and checked against the vocabulary.

    position: the index of the token within its generation. prompt_ids, output_ids: for penalties;
    read only where one is set. mask: packed int32 [W], 1 = allowed, None for no constraint.
    forbidden_ids: see `penalties.forbidden_ids`.
    """

    params: SamplingParams
    seed: int
    position: int
    prompt_ids: TokenIds = ()
    output_ids: TokenIds = ()
    mask: NDArray[np.int32] | None = None
    forbidden_ids: tuple[int, ...] = ()


class Sampled(NamedTuple):
    """id: the token drawn; -1 when nothing is allowed, or the model gave NaN or +inf.

    logprob and top (best first) are natural logs under the unmodified model, for rows that asked
    for return_logprob. masked_mass is the probability that the mask took away (0 without one).
    """

    id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...]
    masked_mass: float


def sample(
    logits: Tensor, rows: Sequence[SampleRow], places: Sequence[int] | None = None
) -> list[Sampled]:
    """Draw one token for each of B rows from `logits` float32 [N, V], which is not changed.

    places [B]: which row of the logits each draws from; None: all of them in turn.
    A row's result does not depend on the other rows. Rows without penalties, bias or forbidden ids
    cost a few microseconds of Python; if any row has some, the logits are copied once.
    """
    at = np.arange(len(logits)) if places is None else np.array(places, np.int64)
    if len(rows) != len(at):
        raise ValueError(f"{len(at)} rows of logits for {len(rows)} rows")
    if not rows:
        return []
    masks, mask_rows = _stack_masks(rows)
    changes = dict(enumerate(rows))
    ids, masked_mass = draw(logits, at, row_settings(rows), masks, mask_rows, changes)
    drawn = [
        Sampled(token_id, None, (), mass)
        for token_id, mass in zip(ids.tolist(), masked_mass.tolist(), strict=True)
    ]
    return with_logprobs(drawn, logits, at, [row.params for row in rows])


def draw(
    logits: Tensor,
    places: NDArray[np.int64],
    settings: RowSettings,
    masks: NDArray[np.int32],
    mask_rows: NDArray[np.int32],
    changes: Mapping[int, SampleRow],
) -> Drawn:
    """`sample` without log-probabilities, for rows whose settings lie in arrays already.

    places int64 [B], masks int32 [M, W], mask_rows int32 [B]: see `masked_sample`. changes: the
    rows of the batch whose penalties, bias and forbidden ids are to be looked at.
    """
    touched = [b for b, row in changes.items() if row.forbidden_ids or changes_logits(row.params)]
    if touched:
        logits = _rows_of(logits, places).detach().to("cpu", copy=True)
        places = np.arange(len(places))
        for b in touched:
            row, one = changes[b], logits[b].numpy()
            penalise(one, row.params, row.prompt_ids, row.output_ids)
            forbid(one, row.forbidden_ids)
    return masked_sample(logits, masks, mask_rows, settings, places)


def with_logprobs(
    drawn: Sequence[Sampled],
    logits: Tensor,
    places: NDArray[np.int64],
    params: Sequence[SamplingParams],
) -> list[Sampled]:
    """`drawn` [B], with what rows that ask for return_logprob want to know of `logits` [N, V] at
    their `places` [B]."""
    found = [*drawn]
    wanted = [b for b, p in enumerate(params) if p.return_logprob and found[b].id >= 0]
    if wanted:
        _add_logprobs(found, _rows_of(logits, places[wanted]), params, wanted)
    return found


def row_settings(rows: Sequence[SampleRow]) -> RowSettings:
    """The rows' settings as arrays; OverflowError for one that does not fit."""
    params = [row.params for row in rows]
    return RowSettings(
        temperature=np.array([p.temperature for p in params], dtype=np.float32),
        top_k=np.array([p.top_k for p in params], dtype=np.int32),
        top_p=np.array([p.top_p for p in params], dtype=np.float32),
        min_p=np.array([p.min_p for p in params], dtype=np.float32),
        seeds=np.array([row.seed % (1 << 64) for row in rows], dtype=np.uint64),
        positions=np.array([row.position for row in rows], dtype=np.int64),
    )


def _stack_masks(rows: Sequence[SampleRow]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Masks int32 [M, W] and each row's index into them, int32 [B], -1 for none."""
    masks = [row.mask for row in rows if row.mask is not None]
    has_mask = np.array([row.mask is not None for row in rows])
    mask_rows = np.where(has_mask, np.cumsum(has_mask) - 1, -1).astype(np.int32)
    return (np.stack(masks) if masks else _NO_MASK.copy()), mask_rows


def _rows_of(logits: Tensor, places: NDArray[np.int64]) -> Tensor:
    return logits[torch.from_numpy(places).to(logits.device)]


def _add_logprobs(
    drawn: list[Sampled], chosen: Tensor, params: Sequence[SamplingParams], wanted: Sequence[int]
) -> None:
    """chosen: float32 [n, V], the logits of the n rows that are wanted."""
    ids = torch.tensor([drawn[b].id for b in wanted], device=chosen.device)
    for b, logprob in zip(wanted, logprobs_of(chosen, ids).tolist(), strict=True):
        drawn[b] = drawn[b]._replace(logprob=logprob)
    counts = [params[b].top_logprobs_num or 0 for b in wanted]
    if any(counts):
        top_ids, top_values = (t.tolist() for t in top_logprobs(chosen, max(counts)))
        for b, count, some_ids, values in zip(wanted, counts, top_ids, top_values, strict=True):
            top = tuple(zip(some_ids[:count], values[:count], strict=True))
            drawn[b] = drawn[b]._replace(top=top)
