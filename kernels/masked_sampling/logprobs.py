"""Log-probabilities under the unmodified model: no mask, no penalty, no temperature."""

from __future__ import annotations

import torch
from torch import Tensor


def logprobs_of(logits: Tensor, ids: Tensor) -> Tensor:
    """log softmax(logits)[ids]: logits float32 [B, V], ids int64 [B] -> float32 [B].

    >>> logprobs_of(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor([0.2500])
    """
    chosen = logits.gather(1, ids[:, None]).squeeze(1)  # [B]
    return chosen - logits.logsumexp(dim=1)


def top_logprobs(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k most likely ids, best first, equal ones by id: int64 [B, k] and float32 [B, k].

    k is cut to V. One selection over V, then a sort of the few ids that reach the k-th value.

    >>> top_logprobs(torch.tensor([[0.0, 2.0, 0.0, 2.0]]), 3)[0]
    tensor([[1, 3, 0]])
    """
    k = min(k, logits.shape[1])
    if k == 0:
        return logits.new_empty(len(logits), 0, dtype=torch.int64), logits.new_empty(len(logits), 0)
    least = logits.topk(k, dim=1).values[:, -1:]  # [B, 1]
    # topk leaves open which of several equal values it takes; a stable sort by id does not.
    rows = []
    for reaches, row in zip(logits >= least, logits, strict=True):
        ids = reaches.nonzero().squeeze(1)  # ascending
        rows.append(ids[row[ids].argsort(descending=True, stable=True)[:k]])
    top = torch.stack(rows)  # [B, k]
    return top, logits.gather(1, top) - logits.logsumexp(dim=1, keepdim=True)
