"""Matrix products on one core: python benchmarks/kernels.py [--rows 1,32] [--dtypes int8] [--lanes]

Each shape has as many matrices as the model has layers, and all are multiplied in turn, so that a
matrix comes from where it would in a forward pass and not from the nearest cache. Microseconds per
matrix (the best of several passes, CPU time of this thread) and GFLOP/s; torch's linear on one
thread beside ours. --lanes: without registers of 16 rows, as on a CPU that has none. --narrow: the
result goes to a matrix of 32 columns, again and again, not to one as wide as it is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import torch

from sestina.kernels.linear import tiles
from sestina.kernels.linear.packed import Packed, Packer, Rows, largest_activation

SHAPES = ((960, 576, 30), (3072, 576, 30), (576, 1536, 30), (49152, 576, 1))  # N, K, layers
ROWS = (1, 2, 4, 8, 16, 32, 64, 256, 512)
DTYPES = {"int8": torch.int8, "bfloat16": torch.bfloat16, "float32": torch.float32}
FEW_LAYERS = 4  # enough where weights are read so rarely that it does not matter
MANY_ROWS = 64


@numba.njit(nogil=True)
def multiply_all(rows: Any, matrix: Any, num_layers: int, num_rows: int, out: Any) -> None:
    for layer in range(num_layers):
        for tile in range(0, matrix.scales.shape[1] // 16, 2):
            column = 16 * tile if out.shape[1] > 32 else 0
            tiles.multiply_at(rows, matrix, layer, tile, 0, num_rows, out, column)


@numba.njit(nogil=True)
def prepare_all(x: Any, largest: Any, rows: Any) -> None:
    for m in range(x.shape[0]):
        tiles.prepare(x[m], x.shape[1], largest, rows, m)


def best_s(passes: Sequence[Callable[[], object]], num_passes: int) -> list[float]:
    """The shortest time of each, all run in turn."""
    best = [float("inf")] * len(passes)
    for _ in range(num_passes):
        for i, run in enumerate(passes):
            start = time.thread_time()
            run()
            best[i] = min(best[i], time.thread_time() - start)
    return best


def ours(
    matrices: Sequence[Packed], num_rows: int, has_blocks: bool | None, is_narrow: bool
) -> list[Any]:
    """For each shape, what multiplies all its layers."""

    def of(matrix: Packed, width: int, num_layers: int) -> Callable[[], object]:
        x = np.random.default_rng(0).standard_normal((num_rows, width)).astype(np.float32)
        rows = Rows.empty(num_rows, width, matrix.weights, has_blocks)
        prepare_all(x, np.float32(largest_activation(width)), rows)
        out = np.zeros((num_rows, 32 if is_narrow else matrix.scales.shape[1]), np.float32)
        return lambda: multiply_all(rows, matrix, num_layers, num_rows, out)

    return [
        of(matrix, width, layers(num_layers, num_rows))
        for matrix, (_, width, num_layers) in zip(matrices, SHAPES, strict=True)
    ]


def torchs(weights: Sequence[list[torch.Tensor]], num_rows: int) -> list[Any]:
    def of(layers: list[torch.Tensor]) -> Callable[[], object]:
        x = torch.randn(num_rows, layers[0].shape[1]).to(layers[0].dtype)
        return lambda: [torch.nn.functional.linear(x, weight) for weight in layers]

    return [of(each[: layers(len(each), num_rows)]) for each in weights]


def layers(num_layers: int, num_rows: int) -> int:
    return num_layers if num_rows < MANY_ROWS else min(num_layers, FEW_LAYERS)


def print_rows(name: str, make: Callable[[int], list[Any]], num_rows: int) -> None:
    best = best_s(make(num_rows), num_passes=7 if num_rows < MANY_ROWS else 3)
    cells = []
    for (num_columns, width, num_layers), seconds in zip(SHAPES, best, strict=True):
        each = seconds / layers(num_layers, num_rows)
        gflops = 2 * num_rows * num_columns * width / each / 1e9
        cells.append(f"{1e6 * each:9.0f} us {gflops:5.0f}")
    print(f"{name:<15}{num_rows:>4} {' '.join(cells)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(map(str, ROWS)))
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--lanes", action="store_true")
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--no-torch", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':<15}rows", *(f"{f'({n}, {k})':>18}" for n, k, _ in SHAPES))
    for name in options.dtypes.split(","):
        dtype = DTYPES[name]
        weights = [[torch.randn(n, k) for _ in range(num)] for n, k, num in SHAPES]
        packers = [Packer.of(dtype) for _ in SHAPES]
        for packer, each in zip(packers, weights, strict=True):
            for weight in each:
                packer.add(weight)
        matrices = [packer.packed() for packer in packers]
        plain = [[w.to(dtype) for w in each] for each in weights] if dtype.is_floating_point else []
        del weights, packers
        for num_rows in map(int, options.rows.split(",")):
            form = (False if options.lanes else None), options.narrow
            print_rows(name, lambda num: ours(matrices, num, *form), num_rows)  # noqa: B023
            if plain and not options.no_torch:
                print_rows("  torch", lambda num: torchs(plain, num), num_rows)  # noqa: B023


if __name__ == "__main__":
    main()
