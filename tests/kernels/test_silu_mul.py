"""silu(gate) * up in lanes, against numpy in float64."""

from __future__ import annotations

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sestina.kernels import simd
from sestina.kernels.decoder.rows import silu_mul

Floats = NDArray[np.float32]
LANES = {"min_size": 16, "max_size": 16}


@numba.njit
def silu(both: Floats, out: Floats) -> None:
    simd.f32_store(silu_mul(both, 0), out, 0)


@given(
    st.lists(st.floats(-200, 200, width=32), **LANES),
    st.lists(st.floats(-100, 100, width=32), **LANES),
)
def test_silu_mul(gates: list[float], ups: list[float]) -> None:
    both, out = np.array(gates + ups, np.float32), np.empty(16, np.float32)
    silu(both, out)
    gate, up = both[:16].astype(np.float64), both[16:].astype(np.float64)
    np.testing.assert_allclose(out, gate / (1 + np.exp(-gate)) * up, rtol=1e-5, atol=1e-30)


@given(st.sampled_from([np.nan, np.inf]), st.integers(0, 15))
def test_silu_mul_does_not_hide_what_is_not_finite(value: float, lane: int) -> None:
    both, out = np.ones(32, np.float32), np.empty(16, np.float32)
    both[16 + lane] = value
    silu(both, out)
    assert not np.isfinite(out[lane])
    assert np.isfinite(np.delete(out, lane)).all()
