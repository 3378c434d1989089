"""The meaning of kv_store in plain torch."""

from __future__ import annotations

from torch import Tensor


def kv_store(k: Tensor, v: Tensor, slots: Tensor, k_pool: Tensor, v_pool: Tensor) -> None:
    k_pool[slots] = k.to(k_pool.dtype)
    v_pool[slots] = v.to(v_pool.dtype)
