from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.kernels.linear import cpu, linear, reference

DTYPES = st.sampled_from([torch.float32, torch.bfloat16])


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(
    num_rows=st.integers(1, 13),
    num_columns=st.integers(1, 40),
    width=st.integers(1, 130),
    dtype=DTYPES,
    has_bias=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
@settings(deadline=None, max_examples=40)
def test_cpu_equals_exact_arithmetic(
    num_rows: int, num_columns: int, width: int, dtype: torch.dtype, has_bias: bool, seed: int
) -> None:
    x, weight = randn(seed, num_rows, width), randn(seed + 1, num_columns, width).to(dtype)
    bias = randn(seed + 2, num_columns).to(dtype) if has_bias else None
    want = x.double() @ weight.double().T
    if bias is not None:
        want += bias.double()
    got = cpu.linear(x, weight, bias)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-4)


@given(dtype=DTYPES, num_rows=st.integers(2, 9))
@settings(deadline=None, max_examples=10)
def test_a_row_does_not_depend_on_the_other_rows_up_to_rounding(
    dtype: torch.dtype, num_rows: int
) -> None:
    x, weight = randn(0, num_rows, 576), randn(1, 33, 576).to(dtype)
    together = cpu.linear(x, weight)
    alone = torch.cat([cpu.linear(x[m : m + 1], weight) for m in range(num_rows)])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("num_rows", [1, 4, 5, 40])
def test_dispatch_keeps_dtype_and_meaning(num_rows: int) -> None:
    x, weight = randn(0, num_rows, 64), randn(1, 48, 64)
    torch.testing.assert_close(linear(x, weight), x @ weight.T, rtol=1e-4, atol=1e-4)
    rounded = linear(x, weight.bfloat16())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, x @ weight.T, rtol=0.05, atol=0.2)
    assert reference.linear(x.bfloat16(), weight.bfloat16()).dtype == torch.bfloat16
