"""The products of attention: of matrices of words in a scratch, whatever their shape.

By AMX where it may be used, else in registers, 6 or 3 rows and 64 or 16 columns at a time. Every
element of a product sums in the same order in each of these forms of its dtype.
"""

from __future__ import annotations

import numpy as np

from sestina.kernels.numba_jit import jit_exact
from sestina.kernels.simd_matrix import block_product, tile_product

_6x4, _3x4, _6x1, _3x1 = (block_product(*shape) for shape in ((6, 4), (3, 4), (6, 1), (3, 1)))
_tiles_16x4, _tiles_16x1 = tile_product(4), tile_product(1)


@jit_exact
def multiply(
    m: np.ndarray,
    a: int,
    a_step: int,
    b: int,
    b_step: int,
    c: int,
    c_step: int,
    num_rows: int,
    num_lines: int,
    depth: int,
    fresh: bool,
    bf16: bool,
    tiles: bool,
) -> None:
    """C [num_rows, 16 num_lines] (+)= A [num_rows, depth] B, all in `m`.

    num_rows a multiple of 3; with `tiles` those that `tiles_begin` was told are meant.
    """
    line = 0
    while line < num_lines:
        wide = num_lines - line >= 4
        x, z = b + 16 * line, c + 16 * line
        if tiles:
            if wide:
                _tiles_16x4(m, a, a_step, m, x, b_step, m, z, c_step, depth, fresh)
            else:
                _tiles_16x1(m, a, a_step, m, x, b_step, m, z, c_step, depth, fresh)
        else:
            for row in range(0, num_rows - 5, 6):
                y, w = a + row * a_step, z + row * c_step
                if wide:
                    _6x4(m, y, a_step, m, x, b_step, m, w, c_step, depth, fresh, bf16)
                else:
                    _6x1(m, y, a_step, m, x, b_step, m, w, c_step, depth, fresh, bf16)
            if num_rows % 6 == 3:
                y, w = a + (num_rows - 3) * a_step, z + (num_rows - 3) * c_step
                if wide:
                    _3x4(m, y, a_step, m, x, b_step, m, w, c_step, depth, fresh, bf16)
                else:
                    _3x1(m, y, a_step, m, x, b_step, m, w, c_step, depth, fresh, bf16)
        line += 4 if wide else 1
