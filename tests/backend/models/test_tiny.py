from __future__ import annotations

import pytest
import torch

from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.tiny import tiny_llama


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (sequence_logits(tiny_llama(seed), [1, 2, 3]) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_logits_spread_and_depend_on_the_whole_prefix() -> None:
    model = tiny_llama()
    ends = [sequence_logits(model, [start, *range(1, 30)])[-1] for start in range(5)]
    assert all(1.0 < float(logits.std()) < 4.0 for logits in ends)
    assert len({tuple(logits.tolist()) for logits in ends}) == 5


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        sequence_logits(tiny_llama(), [])
