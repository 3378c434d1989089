"""Token ids to text as they come, never in the middle of a character."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import Protocol


class _TokenBytes(Protocol):
    def token_bytes(self, token_id: int) -> bytes: ...


class Detokenizer:
    """The text of a growing list of ids. Cost: O(bytes pushed), whatever the length so far.

    All pieces joined equal `bytes.decode("utf-8", errors="replace")` of all bytes, however the ids
    are chunked: an incomplete character is held back, an invalid byte becomes U+FFFD. Control
    tokens have no bytes, so they give no text.
    """

    __slots__ = ("_decoder", "_num_skipped", "_tokenizer")

    def __init__(self, tokenizer: _TokenBytes, num_skipped: int = 0) -> None:
        """num_skipped: bytes at the beginning that are not part of the text."""
        self._tokenizer = tokenizer
        self._num_skipped = num_skipped
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, ids: Iterable[int]) -> str:
        """The characters that these ids complete."""
        data = b"".join(map(self._tokenizer.token_bytes, ids))
        if self._num_skipped:
            num_skipped = self._num_skipped
            data, self._num_skipped = data[num_skipped:], max(0, num_skipped - len(data))
        return self._decoder.decode(data)

    def finish(self) -> str:
        """What an unfinished character at the end decodes to; afterwards nothing is held back."""
        return self._decoder.decode(b"", final=True)

    @property
    def has_pending(self) -> bool:
        """Whether the start of an unfinished character is held back."""
        return bool(self._decoder.getstate()[0])

    def fork(self) -> Detokenizer:
        """An independent copy, with the same bytes held back."""
        copy = Detokenizer(self._tokenizer, self._num_skipped)
        copy._decoder.setstate(self._decoder.getstate())
        return copy
