"""A model used the plainest way: one sequence, from scratch, nothing cached."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sestina.backend.batch import Batch, KVPool, Model


def sequence_logits(model: Model, token_ids: Sequence[int], *, last_only: bool = False) -> Tensor:
    """Logits [len(token_ids), V] float32 after each token of one sequence, on the model's device.

    last_only: only those after the last token, [1, V]. One forward pass over a pool of its own,
    made for the call; the sequence must not be empty.
    """
    num_tokens = len(token_ids)
    if not num_tokens:
        raise ValueError("an empty sequence has no logits")
    device = model.device
    order = torch.arange(num_tokens, device=device)
    batch = Batch(
        token_ids=torch.tensor(token_ids, dtype=torch.int64, device=device),
        positions=order,
        slots=order,
        query_start=torch.tensor([0, num_tokens], dtype=torch.int32, device=device),
        seq_lens=torch.tensor([num_tokens], dtype=torch.int32, device=device),
        table_rows=torch.zeros(1, dtype=torch.int32, device=device),
        page_table=order.int()[None],
        logit_rows=order[-1:] if last_only else order,
    )
    return model.forward(batch, KVPool.empty(model.config, num_tokens, model.kv_dtype, device))
