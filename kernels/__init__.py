"""One folder per operation: `__init__.py` holds the contract and picks an implementation,
`reference.py` is the plain torch or numpy meaning of it, `cpu.py` the numba one.

Kernels import nothing of ours, so each can be read, tested and timed on its own.
"""
