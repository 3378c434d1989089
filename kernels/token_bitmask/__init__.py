"""Packed token masks, and applying them to logits.

A token bitmask is int32 [..., ceil(V / 32)] and C-contiguous: bit i % 32 (from the least
significant) of word i // 32 is 1 where token i is allowed. int32, not uint32, since torch has
neither shifts nor GPU kernels for the unsigned type. The padding bits of the last word, and every
token beyond the mask's last word, are forbidden.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sestina.kernels.token_bitmask import cpu, reference

pack_bitmask = reference.pack
unpack_bitmask = reference.unpack


def apply_token_bitmask(logits: Tensor, masks: Tensor, rows: Tensor | None = None) -> None:
    """Set the logits of forbidden tokens to -inf, in place.

    logits: float32 [B, V], last dimension contiguous; V may exceed the mask's 32 * W tokens.
    masks: int32 [M, W], a pool of bitmasks.
    rows: int32 or int64 [B]; row b uses masks[rows[b]], and -1 leaves it alone. None: row b uses
        masks[b], and M must be B.

    Raises ValueError for a wrong shape, dtype or row number. O(B * V / 32) for a mask that allows
    everything, O(B * V) for one that allows little.
    """
    if logits.dtype != torch.float32 or logits.dim() != 2:
        raise ValueError(f"logits must be float32 [B, V], not {logits.dtype} {list(logits.shape)}")
    if masks.dtype != torch.int32 or masks.dim() != 2:
        raise ValueError(f"masks must be int32 [M, W], not {masks.dtype} {list(masks.shape)}")
    num_rows, num_masks = logits.shape[0], masks.shape[0]
    if rows is None:
        rows = torch.arange(num_masks, device=masks.device)
    if rows.shape != (num_rows,) or rows.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"rows must be integers [{num_rows}], not {rows.dtype} {list(rows.shape)}")
    if num_rows and (int(rows.min()) < -1 or int(rows.max()) >= num_masks):
        raise ValueError(f"rows must lie in -1..{num_masks - 1}")
    if logits.device.type == "cpu":
        cpu.apply(logits, masks, rows)
    else:
        reference.apply(logits, masks, rows)
