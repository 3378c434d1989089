from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite.binding import get_host_cpu_features
from numpy.typing import NDArray

from sestina.kernels import amx
from sestina.kernels.linear import packed, tiles, tiles_amx
from sestina.kernels.linear.packed import Packed, Packer, Rows, largest_activation, unpack

DTYPES = [torch.float32, torch.bfloat16, torch.int8]
# Rows in tiles where this process may use them, and rows without.
FORMS = st.sampled_from([None, False])
SIZES = {"num_columns": st.integers(1, 70), "width": st.integers(1, 150)}

Floats = NDArray[np.float32]


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@numba.njit
def prepare_all(x: Floats, largest: np.float32, rows: Any) -> None:
    for m in range(x.shape[0]):
        tiles.prepare(x[m], x.shape[1], largest, rows, m)


@numba.njit
def multiply_all(rows: Any, matrix: Any, layer: int, first: int, end: int, out: Floats) -> None:
    for tile in range(0, matrix.scales.shape[1] // 16, 2):
        tiles.multiply(rows, matrix, layer, tile, first, end, out)


@numba.njit
def multiply_all_int8(rows: Any, matrix: Any, num_rows: int, out: Floats) -> None:
    """In tiles whatever the number of rows."""
    weights, scales = matrix.weights[0], matrix.scales[0]
    for tile in range(0, scales.shape[0] // 16, 2):
        tiles_amx.int8(rows.blocks, rows.scales, weights, scales, tile, 0, num_rows, out, 16 * tile)


@numba.njit
def multiply_panels(rows: Any, matrix: Any, num_rows: int, panels: Floats) -> None:
    """Each 32 columns of the result in the middle of a matrix of their own: [N' / 32, T, 64]."""
    for pair in range(panels.shape[0]):
        tiles.multiply_at(rows, matrix, 0, 2 * pair, 0, num_rows, panels[pair], 16)


def pack(dtype: torch.dtype, *weights: torch.Tensor) -> Packed:
    packer = Packer.of(dtype)
    for weight in weights:
        packer.add(weight)
    return packer.packed()


def prepare(x: torch.Tensor, matrix: Packed, has_blocks: bool | None) -> Rows:
    rows = Rows.empty(x.shape[0], x.shape[1], matrix.weights, has_blocks)
    prepare_all(x.numpy(), np.float32(largest_activation(x.shape[1])), rows)
    return rows


def linear(
    x: torch.Tensor, matrix: Packed, has_blocks: bool | None = None, layer: int = 0
) -> Floats:
    """[T, N'] of x [T, K] and packed weights."""
    rows = prepare(x, matrix, has_blocks)
    out = np.full((x.shape[0], matrix.scales.shape[1]), np.inf, np.float32)
    multiply_all(rows, matrix, layer, 0, x.shape[0], out)
    return out


@given(
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    num_rows=st.integers(1, 40),
    has_blocks=FORMS,
    seed=st.integers(0, 1 << 30),
    **SIZES,
)
@settings(deadline=None, max_examples=60)
def test_floats_equal_the_product_in_double(
    dtype: torch.dtype,
    num_rows: int,
    num_columns: int,
    width: int,
    has_blocks: bool | None,
    seed: int,
) -> None:
    x, weight = randn(seed, num_rows, width), randn(seed + 1, num_columns, width)
    want = x.to(dtype).double() @ weight.to(dtype).double().T
    got = linear(x, pack(dtype, weight), has_blocks)
    np.testing.assert_allclose(got[:, :num_columns], want.numpy(), rtol=1e-5, atol=2e-5)
    assert not got[:, num_columns:].any()


@given(
    dtype=st.sampled_from(DTYPES),
    num_rows=st.integers(1, 90),
    cuts=st.sets(st.integers(1, 5)),
    has_blocks=FORMS,
    width=st.integers(1, 150),
)
@settings(deadline=None, max_examples=40)
def test_rows_in_pieces_give_the_same_bits_and_nothing_else(
    dtype: torch.dtype, num_rows: int, cuts: set[int], has_blocks: bool | None, width: int
) -> None:
    """Pieces begin at multiples of 16; the last one of them is left out."""
    x, matrix = randn(0, num_rows, width), pack(dtype, randn(1, 40, width))
    rows = prepare(x, matrix, has_blocks)
    whole, pieces = np.full((2, num_rows, matrix.scales.shape[1]), np.inf, np.float32)
    multiply_all(rows, matrix, 0, 0, num_rows, whole)
    edges = sorted({0, num_rows, *(16 * cut for cut in cuts if 16 * cut < num_rows)})
    for first, end in itertools.pairwise(edges[:-1]):
        multiply_all(rows, matrix, 0, first, end, pieces)
    np.testing.assert_array_equal(pieces[: edges[-2]], whole[: edges[-2]])
    assert np.isinf(pieces[edges[-2] :]).all()


@given(num_rows=st.integers(1, 40), has_blocks=FORMS, seed=st.integers(0, 1 << 30), **SIZES)
@settings(deadline=None, max_examples=60)
def test_int8_sums_integers_exactly(
    num_rows: int, num_columns: int, width: int, has_blocks: bool | None, seed: int
) -> None:
    x, weight = randn(seed, num_rows, width), randn(seed + 1, num_columns, width)
    matrix = pack(torch.int8, weight)
    rows = prepare(x, matrix, has_blocks)
    left = rows.values[:, :width].astype(np.int64)
    right = unpack(matrix.weights[0], num_columns, width).numpy().astype(np.int64)
    scales = matrix.scales[0, :num_columns]
    want = (left @ right.T).astype(np.float32) * rows.scales[:, None] * scales
    np.testing.assert_array_equal(linear(x, matrix, has_blocks)[:, :num_columns], want)
    # ... and integers of 13 bits stand for x well.
    real = x.double() @ (torch.from_numpy(right * scales[:, None].astype(np.float64))).T
    np.testing.assert_allclose(want, real.numpy(), atol=2e-3 * width**0.5)


@pytest.mark.parametrize("width", [64, 2064])
@pytest.mark.parametrize("num_rows", [1, 3, 16, 17, 33])
def test_int8_in_tiles_has_the_bits_of_int8_in_lanes(width: int, num_rows: int) -> None:
    x, weight = randn(0, num_rows, width), randn(1, 40, width)
    x[0], weight[0] = 1.0, 1.0  # the largest integers there are, all of one sign,
    x[-1], weight[1] = -1.0, -1.0  # reach the largest sums
    matrix = pack(torch.int8, weight)
    rows = prepare(x, matrix, None)
    if not rows.blocks.size:
        pytest.skip("this CPU has no tiles, or Linux does not lend them")
    got = np.zeros((num_rows, matrix.scales.shape[1]), np.float32)
    multiply_all_int8(rows, matrix, num_rows, got)
    np.testing.assert_array_equal(got, linear(x, matrix, has_blocks=False))


@given(
    dtype=st.sampled_from(DTYPES),
    num_rows=st.integers(2, 40),
    has_blocks=FORMS,
    data=st.data(),
    **SIZES,
)
@settings(deadline=None, max_examples=60)
def test_the_bits_of_a_row_do_not_depend_on_its_company(
    dtype: torch.dtype,
    num_rows: int,
    num_columns: int,
    width: int,
    has_blocks: bool | None,
    data: st.DataObject,
) -> None:
    x, matrix = randn(0, num_rows, width), pack(dtype, randn(1, num_columns, width))
    together = linear(x, matrix, has_blocks)
    first = data.draw(st.integers(0, num_rows - 1))
    last = data.draw(st.integers(first + 1, num_rows))
    np.testing.assert_array_equal(linear(x[first:last], matrix, has_blocks), together[first:last])


@given(
    dtype=st.sampled_from(DTYPES),
    bad=st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    place=st.tuples(st.integers(0, 19), st.integers(0, 99)),
    has_blocks=FORMS,
)
@settings(deadline=None, max_examples=30)
def test_a_number_that_is_none_spoils_its_row_and_no_other(
    dtype: torch.dtype, bad: float, place: tuple[int, int], has_blocks: bool | None
) -> None:
    x, matrix = randn(0, 20, 100), pack(dtype, randn(1, 32, 100))
    want = linear(x, matrix, has_blocks)
    x[place] = bad
    got = linear(x, matrix, has_blocks)
    assert not np.isfinite(got[place[0]]).any()
    others = np.arange(20) != place[0]
    np.testing.assert_array_equal(got[others], want[others])


@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=150),
    m=st.integers(0, 17),
)
@settings(deadline=None, max_examples=100)
def test_bfloat16_rows_are_rounded_as_torch_rounds(values: list[float], m: int) -> None:
    x = torch.zeros(18, len(values))
    x[m] = torch.tensor(values)
    want = x.bfloat16()
    rows = prepare(x, pack(torch.bfloat16, torch.zeros(1, len(values))), has_blocks=False)
    got = torch.from_numpy(rows.values[:, : len(values)]).view(torch.bfloat16)
    torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)


@given(
    values=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=150),
    m=st.integers(0, 17),
)
@settings(deadline=None, max_examples=100)
def test_integer_rows_are_rounded_to_nearest(values: list[float], m: int) -> None:
    x = np.zeros((18, len(values)), np.float32)
    x[m] = values
    rows = prepare(torch.from_numpy(x), pack(torch.int8, torch.ones(1, len(values))), True)
    largest, top = np.float32(8191), np.abs(x[m]).max()
    want = np.rint(x[m] * (largest / top if top > 1e-34 else np.float32(0)))
    np.testing.assert_array_equal(rows.values[m, : len(values)], want)
    assert rows.scales[m] == top / largest
    blocks = rows.blocks.reshape(2, -1, 2, 16, 64)[m // 16, :, :, m % 16].astype(int)
    joined = (128 * blocks[:, 0] + blocks[:, 1]).reshape(-1)
    np.testing.assert_array_equal(joined, rows.values[m])
    assert np.abs(blocks).max() <= 64


def test_no_tiles_where_the_process_may_not_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    x, matrix = randn(0, 20, 64), pack(torch.int8, randn(1, 32, 64))
    want = linear(x, matrix)
    monkeypatch.setattr(amx, "allowed", lambda: False)
    assert Rows.empty(20, 64, matrix.weights).blocks.size == 0
    np.testing.assert_array_equal(linear(x, matrix), want)


def test_rows_are_written_over_whatever_they_held() -> None:
    matrix = pack(torch.int8, randn(0, 32, 100))
    rows = Rows.empty(2, 100, matrix.weights)
    x = randn(1, 2, 100)
    spoilt = x.clone()
    spoilt[0, 5] = float("nan")
    largest = np.float32(largest_activation(100))
    out = np.zeros((2, 32), np.float32)
    for rows_of in (x, spoilt, x):
        prepare_all(rows_of.numpy(), largest, rows)
        multiply_all(rows, matrix, 0, 0, 2, out)
    np.testing.assert_array_equal(out, linear(x, matrix))


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_layer_has_its_weights(dtype: torch.dtype) -> None:
    weights = [randn(seed, 33, 40) for seed in range(3)]
    matrix, x = pack(dtype, *weights), randn(9, 6, 40)
    for layer, weight in enumerate(weights):
        alone = linear(x, pack(dtype, weight))
        np.testing.assert_array_equal(linear(x, matrix, layer=layer), alone)


@given(dtype=st.sampled_from(DTYPES), num_rows=st.integers(1, 40), has_blocks=FORMS)
@settings(deadline=None, max_examples=30)
def test_columns_may_go_to_a_narrow_matrix(
    dtype: torch.dtype, num_rows: int, has_blocks: bool | None
) -> None:
    x, matrix = randn(0, num_rows, 70), pack(dtype, randn(1, 96, 70))
    panels = np.full((3, num_rows, 64), 7, np.float32)
    multiply_panels(prepare(x, matrix, has_blocks), matrix, num_rows, panels)
    got = panels[:, :, 16:48].transpose(1, 0, 2).reshape(num_rows, 96)
    np.testing.assert_array_equal(got, linear(x, matrix, has_blocks))
    assert (panels[:, :, :16] == 7).all()
    assert (panels[:, :, 48:] == 7).all()


@given(dtype=st.sampled_from(DTYPES), **SIZES)
@settings(deadline=None, max_examples=40)
def test_unpack_undoes_pack(dtype: torch.dtype, num_columns: int, width: int) -> None:
    weight = (randn(0, num_columns, width) * 20).to(dtype)
    assert torch.equal(unpack(packed.pack(weight), num_columns, width), weight)


OTHER_CPUS = {
    "AVX-512 without tiles": ("znver4", "avx512|avx2|fma|bmi|f16c|popcnt"),
    "AVX2": ("haswell", "avx2|fma|bmi|f16c|popcnt"),
    "any": ("generic", "^$"),
}


@pytest.mark.slow  # compiles the kernels once more
@pytest.mark.parametrize("cpu", OTHER_CPUS)
def test_the_same_on_lesser_cpus(cpu: str, tmp_path: Path) -> None:
    """The tests of this file, compiled for a CPU that has less than this one."""
    name, pattern = OTHER_CPUS[cpu]
    has = get_host_cpu_features().items()
    features = [f"+{feature}" for feature, there in has if there and re.search(pattern, feature)]
    environment = {
        "NUMBA_CPU_NAME": name,
        "NUMBA_CPU_FEATURES": ",".join(features),
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", __file__]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
