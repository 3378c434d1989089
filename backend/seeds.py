"""The seed of each generation, from the seed of its program."""

from __future__ import annotations

import hashlib
import struct

_PERSON = b"sestina.seed"


def derive_seed(program_seed: int, branch: str, op: int, index: int) -> int:
    """A uint64 that depends on nothing but its arguments, on any machine and in any version.

    `branch` is the fork path ("0.2"), `op` the number of the gen on that branch, `index` which of
    its n continuations. The first 8 bytes, little-endian, of BLAKE2b (RFC 7693) over the three
    numbers as 64-bit little-endian integers (modulo 2**64) and the path in UTF-8.

    >>> derive_seed(0, "0", 0, 0) != derive_seed(0, "0", 0, 1)
    True
    """
    numbers = struct.pack("<3Q", *(n % (1 << 64) for n in (program_seed, op, index)))
    digest = hashlib.blake2b(numbers + branch.encode(), digest_size=8, person=_PERSON)
    return int.from_bytes(digest.digest(), "little")
