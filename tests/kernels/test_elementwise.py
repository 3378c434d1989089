"""rms_norm, rope, silu_mul, kv_store: the CPU implementation equals the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.kernels.kv_store import cpu as kv_store_cpu
from sestina.kernels.kv_store import kv_store
from sestina.kernels.kv_store import reference as kv_store_reference
from sestina.kernels.numba_jit import exp_f32
from sestina.kernels.rms_norm import cpu as rms_norm_cpu
from sestina.kernels.rms_norm import reference as rms_norm_reference
from sestina.kernels.rms_norm import rms_norm
from sestina.kernels.rope import cpu as rope_cpu
from sestina.kernels.rope import reference as rope_reference
from sestina.kernels.rope import rope
from sestina.kernels.silu_mul import cpu as silu_mul_cpu
from sestina.kernels.silu_mul import reference as silu_mul_reference
from sestina.kernels.silu_mul import silu_mul

SIZES = given(
    num_tokens=st.integers(0, 9),
    width=st.integers(1, 70),
    seed=st.integers(0, 1 << 30),
)


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(st.floats(-200, 200, width=32))
@settings(deadline=None)
def test_exp_is_within_two_units_in_the_last_place(x: float) -> None:
    got = float(exp_f32(np.float32(x)))
    want = math.exp(min(max(x, -87.0), 88.0))
    assert got == pytest.approx(want, rel=2.4e-7)


def test_exp_of_nan_is_nan() -> None:
    assert math.isnan(exp_f32(np.float32("nan")))


@SIZES
@settings(deadline=None, max_examples=25)
def test_rms_norm(num_tokens: int, width: int, seed: int) -> None:
    x, residual = randn(seed, num_tokens, width), randn(seed + 1, num_tokens, width)
    weight = randn(seed + 2, width)
    for delta in (None, x):
        ours, theirs = residual.clone(), residual.clone()
        out = rms_norm_cpu.rms_norm(delta, ours, weight, 1e-5)
        torch.testing.assert_close(out, rms_norm_reference.rms_norm(delta, theirs, weight, 1e-5))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_equals_torch(dtype: torch.dtype) -> None:
    residual, weight = randn(0, 5, 64).to(dtype), randn(1, 64)
    want = torch.nn.functional.rms_norm(residual.float(), (64,), weight, 1e-6).to(dtype)
    torch.testing.assert_close(rms_norm(None, residual, weight, 1e-6), want)


@SIZES
@settings(deadline=None, max_examples=25)
def test_silu_mul(num_tokens: int, width: int, seed: int) -> None:
    gate_up = 20 * randn(seed, num_tokens, 2 * width)
    want = silu_mul_reference.silu_mul(gate_up)
    torch.testing.assert_close(silu_mul_cpu.silu_mul(gate_up), want)


def test_silu_mul_keeps_the_dtype_and_survives_extremes() -> None:
    extremes = torch.tensor([[-1e4, -100.0, 0.0, 1e4, 2.0, 2.0, 2.0, 2.0]])
    want = torch.tensor([[0.0, 0.0, 0.0, 2e4]])
    torch.testing.assert_close(silu_mul(extremes), want)
    assert silu_mul(extremes.bfloat16()).dtype == torch.bfloat16


@given(
    num_tokens=st.integers(0, 5),
    num_heads=st.integers(1, 4),
    half=st.integers(1, 40),
    extra=st.integers(0, 3),
    seed=st.integers(0, 1 << 30),
)
@settings(deadline=None, max_examples=25)
def test_rope_in_a_wider_row(
    num_tokens: int, num_heads: int, half: int, extra: int, seed: int
) -> None:
    whole = randn(seed, num_tokens, num_heads + extra, 2 * half)
    angles = 10 * randn(seed + 1, num_tokens, half)
    ours, theirs = whole.clone(), whole.clone()
    rope_cpu.rope(ours[:, :num_heads], angles.cos(), angles.sin())
    rope_reference.rope(theirs[:, :num_heads], angles.cos(), angles.sin())
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours[:, num_heads:], whole[:, num_heads:], rtol=0, atol=0)


def test_rope_keeps_lengths_and_dot_products_of_equal_shifts() -> None:
    q, k = randn(0, 1, 1, 16), randn(1, 1, 1, 16)
    frequencies = torch.logspace(0, -3, 8)

    def score(q_position: float, k_position: float) -> torch.Tensor:
        rotated = []
        for x, position in ((q.clone(), q_position), (k.clone(), k_position)):
            angle = (position * frequencies)[None]
            rope(x, angle.cos(), angle.sin())
            rotated.append(x)
        return (rotated[0] * rotated[1]).sum()

    torch.testing.assert_close(score(7, 3), score(104, 100), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(score(5, 5), (q * k).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("implementation", [kv_store_cpu, kv_store_reference])
def test_kv_store_writes_only_the_named_slots(implementation: object) -> None:
    fused = randn(0, 4, 7, 8)
    k, v = fused[:, 2:4], fused[:, 4:6]
    k_pool, v_pool = randn(1, 10, 2, 8), randn(2, 10, 2, 8)
    want_k, want_v = k_pool.clone(), v_pool.clone()
    for t, slot in enumerate([7, 0, 9, 3]):
        want_k[slot], want_v[slot] = k[t], v[t]
    implementation.kv_store(k, v, torch.tensor([7, 0, 9, 3]), k_pool, v_pool)  # type: ignore[attr-defined]
    assert torch.equal(k_pool, want_k)
    assert torch.equal(v_pool, want_v)


def test_kv_store_converts_to_the_pools_dtype() -> None:
    k, v = randn(0, 2, 1, 4), randn(1, 2, 1, 4)
    k_pool = torch.zeros(3, 1, 4, dtype=torch.bfloat16)
    v_pool = torch.zeros(3, 1, 4, dtype=torch.bfloat16)
    kv_store(k, v, torch.tensor([2, 1]), k_pool, v_pool)
    assert torch.equal(k_pool[[2, 1]], k.bfloat16())
    assert torch.equal(v_pool[[2, 1]], v.bfloat16())
