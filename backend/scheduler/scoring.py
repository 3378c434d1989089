"""Log-probabilities of tokens that are already in a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from sestina.backend.scheduler.sequence import Scores, Sequence, Task
from sestina.kernels.masked_sampling import logprobs_of, top_logprobs
from sestina.lang.errors import InternalError


def score_known_tokens(sequence: Sequence, task: Task, logits: Tensor, first_token: int) -> None:
    """Tell the task what the model gives each known token that the logits predict.

    logits: [n, V] float32, of the sequence's tokens from number `first_token` on. InternalError
    where a row is no distribution (as for sampling).
    """
    start = task.score_from
    if start is None:
        return
    first = max(start, first_token + 1)  # the first token to score
    last = min(first_token + len(logits) + 1, len(sequence))  # logits of token p score token p + 1
    if first >= last:
        return
    rows = logits[first - 1 - first_token : last - 1 - first_token]  # [m, V]
    if not bool(rows.amax(dim=1).isfinite().all()):
        raise InternalError("no token can be scored: a logit is NaN or infinite")
    ids = torch.from_numpy(sequence.tokens[first:last].astype("int64")).to(rows.device)
    top: list[tuple[tuple[int, float], ...]] = [()] * (last - first)
    if task.num_top:
        top_ids, values = top_logprobs(rows, task.num_top)  # [m, k] each
        top = [
            tuple(zip(*pair, strict=True))
            for pair in zip(top_ids.tolist(), values.tolist(), strict=True)
        ]
    task.on_scores(Scores(first, logprobs_of(rows, ids).tolist(), top))
