"""Changes to the logits of single ids, before the mask and the draw.

In this order: repetition, frequency, presence penalty, logit_bias, forbidden ids. All of them
touch only ids that occur. None can allow what a mask forbids: -inf stays -inf under each, so it
makes no difference that they come before the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sestina.lang.errors import InvalidParams
from sestina.lang.params import SamplingParams

TokenIds = Sequence[int] | NDArray[np.int32]

MAX_BIAS = 1e30  # far from float32's end, so that a biased logit stays finite


def check_ids(params: SamplingParams, vocab_size: int) -> None:
    """InvalidParams for token ids the model does not have, and for biases float32 cannot add."""
    for token_id in params.stop_token_ids or ():
        if not 0 <= token_id < vocab_size:
            raise InvalidParams(
                f"stop_token_ids: {token_id} is not an id of this model's {vocab_size} tokens"
            )
    for token_id, bias in params.logit_bias or ():
        if not 0 <= token_id < vocab_size:
            raise InvalidParams(
                f"logit_bias: {token_id} is not an id of this model's {vocab_size} tokens"
            )
        if abs(bias) > MAX_BIAS:
            raise InvalidParams(f"logit_bias of id {token_id} is {bias}; at most {MAX_BIAS:g}")


def forbidden_ids(
    params: SamplingParams,
    num_generated: int,
    eos_ids: Sequence[int],
    mask: NDArray[np.int32] | None = None,
) -> tuple[int, ...]:
    """What min_tokens forbids next: end of text and stop ids, until that many tokens exist.

    `params` are resolved. mask: packed int32 [W], what a grammar allows next. Where that is nothing
    else, nothing is forbidden: a text that could not end in time any more may be too short.
    """
    assert params.min_tokens is not None
    if num_generated >= params.min_tokens:
        return ()
    ids = tuple(dict.fromkeys((*eos_ids, *(params.stop_token_ids or ()))))
    if mask is None:
        return ids
    others = mask.view(np.uint32).copy()
    for token_id in ids:
        if token_id < 32 * len(others):
            others[token_id // 32] &= ~np.uint32(1 << (token_id % 32))
    return ids if others.any() else ()


def changes_logits(params: SamplingParams) -> bool:
    """Whether `penalise` would do anything; `params` are resolved."""
    return bool(
        params.repetition_penalty != 1
        or params.frequency_penalty
        or params.presence_penalty
        or params.logit_bias
    )


def penalise(
    logits: NDArray[np.float32],
    params: SamplingParams,
    prompt_ids: TokenIds,
    output_ids: TokenIds,
) -> None:
    """Apply penalties and bias in place to float32 [V]; `params` are resolved.

    repetition_penalty (CTRL, Keskar et al. 2019) looks at the prompt and the output; frequency and
    presence penalties (OpenAI) at the output alone. Cost: a sort of the ids looked at.
    """
    assert params.repetition_penalty is not None
    # An extreme penalty may overflow: the sampler reports the infinity, numpy need not warn of it.
    with np.errstate(all="ignore"):
        if params.repetition_penalty != 1:
            seen = np.union1d(_as_ids(prompt_ids), _as_ids(output_ids))
            scale = np.float32(params.repetition_penalty)
            logits[seen] = np.where(logits[seen] > 0, logits[seen] / scale, logits[seen] * scale)
        if params.frequency_penalty or params.presence_penalty:
            generated, counts = np.unique(_as_ids(output_ids), return_counts=True)
            logits[generated] -= np.float32(params.frequency_penalty) * counts.astype(np.float32)
            logits[generated] -= np.float32(params.presence_penalty)
        for token_id, bias in params.logit_bias or ():
            logits[token_id] += np.float32(bias)


def forbid(logits: NDArray[np.float32], ids: Sequence[int]) -> None:
    """Set the logits of `ids` to -inf in place; a NaN or +inf stays, to be noticed later."""
    if ids:
        chosen = logits[list(ids)]
        logits[list(ids)] = np.where(chosen < np.inf, np.float32(-np.inf), chosen)


def _as_ids(ids: TokenIds) -> NDArray[np.int64]:
    return np.asarray(ids, dtype=np.int64)
