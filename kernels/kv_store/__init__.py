"""Put the keys and values of new tokens into the slots of one layer's pool."""

from __future__ import annotations

from torch import Tensor

from sestina.kernels.kv_store import cpu, reference


def kv_store(k: Tensor, v: Tensor, slots: Tensor, k_pool: Tensor, v_pool: Tensor) -> None:
    """k_pool[slots[t]] = k[t] and v_pool[slots[t]] = v[t] for every token t.

    k, v [T, G, D] of one dtype, may be strided views; slots [T] int64, distinct and inside the
    pool (not checked); k_pool, v_pool [P, G, D] of one dtype, written.
    """
    if k.is_cpu and cpu.supports(k, k_pool):
        cpu.kv_store(k, v, slots, k_pool, v_pool)
    else:
        reference.kv_store(k, v, slots, k_pool, v_pool)
