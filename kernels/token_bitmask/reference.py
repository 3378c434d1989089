"""Packing, unpacking and applying bitmasks in plain torch, on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(allowed: Tensor) -> Tensor:
    """bool [..., V] to int32 [..., ceil(V / 32)].

    >>> pack(torch.tensor([True, False, True])).tolist()
    [5]
    """
    size = allowed.shape[-1]
    padded = torch.nn.functional.pad(allowed.to(torch.int64), (0, -size % 32))
    bits = padded.reshape(*allowed.shape[:-1], -1, 32)  # [..., W, 32]
    words = (bits << torch.arange(32, device=allowed.device)).sum(-1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


def unpack(mask: Tensor, num_tokens: int) -> Tensor:
    """int32 [..., W] to bool [..., num_tokens]; tokens beyond the mask are False.

    >>> unpack(torch.tensor([5], dtype=torch.int32), 4).tolist()
    [True, False, True, False]
    """
    shifts = torch.arange(32, dtype=torch.int32, device=mask.device)
    bits = (mask.unsqueeze(-1) >> shifts & 1).bool().flatten(-2)  # [..., 32 * W]
    bits = bits[..., :num_tokens]
    return torch.nn.functional.pad(bits, (0, num_tokens - bits.shape[-1]))


def apply(logits: Tensor, masks: Tensor, rows: Tensor) -> None:
    """See `apply_token_bitmask`."""
    masked = rows >= 0
    allowed = unpack(masks[rows[masked].long()], logits.shape[1])  # [rows with a mask, V]
    logits[masked] = logits[masked].masked_fill(~allowed, float("-inf"))
