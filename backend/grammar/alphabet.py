"""What the texts of a machine are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EVERY_BYTE = (1 << 256) - 1


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The bytes of a vocabulary, and its control tokens by name.

    control_ids None: there is no vocabulary, so `Special` is refused. Tokens in `eos_ids` cannot be
    named in a grammar, since they end the text.
    """

    byte_mask: int = EVERY_BYTE
    control_ids: Mapping[str, int] | None = None
    eos_ids: tuple[int, ...] = ()
