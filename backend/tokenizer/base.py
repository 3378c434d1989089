"""What the engine and the grammar need from any tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Tokenizer(Protocol):
    """Text to ids and back, with the bytes of every token known.

    `vocab_size` counts every id below the largest one plus one; a model may have more logits
    (padding), which are never allowed by a mask. Control tokens (`<|im_end|>`) have no bytes:
    `token_bytes(id)` is b"" for them, and text that spells one is encoded as ordinary text unless
    `allow_control` is set (only for the output of the model's own chat template).
    """

    @property
    def vocab_size(self) -> int: ...
    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end a text (end of text, end of turn)."""

    @property
    def bos_id(self) -> int | None:
        """Prepended to a bare prompt where the model was trained so, else None."""

    @property
    def control_ids(self) -> dict[str, int]:
        """Control tokens by name."""

    @property
    def chat_template(self) -> str | None:
        """The model's Jinja chat template."""

    @property
    def fingerprint(self) -> str:
        """A hash of vocabulary and merges: equal fingerprints have equal token bytes."""

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes this id stands for inside a text; b"" for control tokens and unused ids."""

    def encode(self, text: str, *, allow_control: bool = False) -> list[int]:
        """Ids of a text, with nothing added before or after.

        Joining their `token_bytes` gives the text's UTF-8, unless `allow_control` is set: then a
        control token's name becomes its id, and may swallow white space beside it as the model's
        own tokenizer does. ValueError for lone surrogates, which are not text, and for characters
        that the vocabulary cannot write (SmolLM2 has no token for the byte 0x13).
        """

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens by their names, broken UTF-8 as U+FFFD."""
