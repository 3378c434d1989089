"""Bitmasks: packing is exact, and applying forbids exactly the unset bits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.kernels.token_bitmask import (
    apply_token_bitmask,
    pack_bitmask,
    reference,
    unpack_bitmask,
)


@given(st.lists(st.booleans(), min_size=1, max_size=100), st.integers(0, 40))
@settings(deadline=None)
def test_pack_and_unpack(bits: list[bool], beyond: int) -> None:
    packed = pack_bitmask(torch.tensor([bits]))
    assert packed.dtype == torch.int32
    assert packed.shape == (1, (len(bits) + 31) // 32)
    for i, bit in enumerate(bits):
        assert bool(int(packed[0, i // 32]) >> (i % 32) & 1) == bit
    assert unpack_bitmask(packed, len(bits) + beyond).tolist() == [bits + [False] * beyond]


@given(
    st.integers(1, 200), st.integers(1, 200), st.integers(1, 3), st.integers(0, 4), st.data()
)  # fmt: skip
@settings(deadline=None)
def test_apply(
    num_tokens: int, mask_tokens: int, pool: int, batch: int, data: st.DataObject
) -> None:
    bits = torch.rand(pool, mask_tokens, generator=torch.Generator().manual_seed(num_tokens))
    masks = pack_bitmask(bits < data.draw(st.sampled_from([0.0, 0.5, 1.0])))
    picks = data.draw(st.lists(st.integers(-1, pool - 1), min_size=batch, max_size=batch))
    rows = torch.tensor(picks, dtype=data.draw(st.sampled_from([torch.int32, torch.int64])))
    logits = torch.arange(float(batch * num_tokens)).reshape(batch, num_tokens)
    ours, theirs = logits.clone(), logits.clone()
    apply_token_bitmask(ours, masks, rows)
    reference.apply(theirs, masks, rows)
    assert torch.equal(ours, theirs)
    for b, pick in enumerate(picks):
        allowed = unpack_bitmask(masks[max(pick, 0)], num_tokens) | (pick < 0)
        assert torch.equal(ours[b].isinf(), ~allowed)
        assert torch.equal(ours[b][allowed], logits[b][allowed])


def test_apply_by_position_into_a_slice() -> None:
    logits = torch.zeros(3, 2, 10)
    masks = pack_bitmask(torch.eye(10, dtype=torch.bool)[:3])
    apply_token_bitmask(logits[:, 1], masks)
    assert (logits[:, 1] == 0).nonzero().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert not logits[:, 0].any()


@pytest.mark.parametrize(
    ("logits", "masks", "rows"),
    [
        (torch.zeros(2, 8, dtype=torch.bfloat16), torch.zeros(2, 1, dtype=torch.int32), None),
        (torch.zeros(8), torch.zeros(1, 1, dtype=torch.int32), None),
        (torch.zeros(2, 8), torch.zeros(2, 1), None),
        (torch.zeros(2, 8), torch.zeros(3, 1, dtype=torch.int32), None),
        (torch.zeros(2, 8), torch.zeros(2, 1, dtype=torch.int32), torch.tensor([0, 2])),
        (torch.zeros(2, 8), torch.zeros(2, 1, dtype=torch.int32), torch.tensor([0, -2])),
        (torch.zeros(2, 8), torch.zeros(2, 1, dtype=torch.int32), torch.tensor([0.0, 1.0])),
    ],
)
def test_wrong_arguments(
    logits: torch.Tensor, masks: torch.Tensor, rows: torch.Tensor | None
) -> None:
    with pytest.raises(ValueError, match="must"):
        apply_token_bitmask(logits, masks, rows)
