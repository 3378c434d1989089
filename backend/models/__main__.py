"""Compile the CPU's decoder for this machine, for all dtypes: `python -m sestina.backend.models`.

About 15 s a dtype; otherwise the first engine takes them. Numba is several times slower where
Python is traced, so tests that measure coverage run this first.
"""

from __future__ import annotations

from sestina.backend.device import ON_CPU
from sestina.backend.models.naive import sequence_logits
from sestina.backend.models.tiny import tiny_llama

if __name__ == "__main__":
    for dtype in ON_CPU.values():
        sequence_logits(tiny_llama(dtype=dtype), [1, 2, 3])
