"""Log-probabilities of tokens that are already in a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from sestina.backend.scheduler.build import Chunk
from sestina.backend.scheduler.sequence import Scores, Task
from sestina.kernels.masked_sampling import logprobs_of, top_logprobs
from sestina.lang.errors import InternalError


def score_known_tokens(chunk: Chunk, task: Task, logits: Tensor) -> None:
    """Tell the task what the model gives each known token that the chunk's logits predict.

    logits: [n, V] float32, of tokens [chunk.logits_from, chunk.end). InternalError where a row is
    no distribution (as for sampling).
    """
    sequence, start = chunk.sequence, task.score_from
    if start is None:
        return
    first = max(start, chunk.logits_from + 1)  # the first token to score
    last = min(chunk.end + 1, len(sequence))  # logits of token p score token p + 1
    if first >= last:
        return
    rows = logits[first - 1 - chunk.logits_from : last - 1 - chunk.logits_from]  # [m, V]
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
