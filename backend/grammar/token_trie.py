"""A tokenizer's vocabulary as the grammar engine walks it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.threads import look_below
from sestina.backend.grammar.core.walks import NODE_BITS
from sestina.backend.tokenizer.base import Tokenizer
from sestina.kernels.token_mask import Trie, build_trie


@dataclass(frozen=True, slots=True, eq=False)
class TokenTrie:
    """The text tokens of one vocabulary; immutable, shared by all grammars over it.

    token_bytes: of every id; b"" for control tokens, unused ids and those that end the text.
    below: groups and height, see `sestina.backend.grammar.core.threads.Tokens`.
    spelling, starts: token_bytes as uint8 and int32 [V + 1], one after the other.
    byte_mask: the bytes that occur in any token; nothing else can be written.
    """

    fingerprint: str
    token_bytes: tuple[bytes, ...]
    eos_ids: tuple[int, ...]
    trie: Trie
    below: tuple[NDArray[np.int32], NDArray[np.int32]]
    spelling: NDArray[np.uint8]
    starts: NDArray[np.int32]
    byte_mask: int

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> TokenTrie:
        """Read a whole vocabulary: about a second for 151k tokens."""
        eos_ids = tuple(sorted(set(tokenizer.eos_ids)))
        spelled = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
        for token_id in eos_ids:
            spelled[token_id] = b""
        tokens = [(data, i) for i, data in enumerate(spelled) if data]
        byte_mask = 0
        for byte in set().union(*(data for data, _ in tokens)):
            byte_mask |= 1 << byte
        trie = build_trie(tokens)
        if len(trie.byte) >> NODE_BITS:
            raise ValueError(f"a vocabulary of {len(trie.byte)} trie nodes is too large")
        lengths = np.array([0, *map(len, spelled)], np.int32)
        return cls(
            tokenizer.fingerprint,
            tuple(spelled),
            eos_ids,
            trie,
            look_below(trie.byte, trie.end),
            np.frombuffer(b"".join(spelled), np.uint8),
            np.cumsum(lengths, dtype=np.int32),
            byte_mask,
        )

    def has_longer(self, data: bytes) -> bool:
        """Whether some token begins with `data` and is longer. O(log V)."""
        ids, spelled = self.trie.token_ids, self.token_bytes  # in the order of their bytes
        after = bisect_right(ids, data, key=lambda token_id: spelled[token_id])
        return after < len(ids) and spelled[ids[after]].startswith(data)

    @property
    def max_len(self) -> int:
        """Bytes in the longest token."""
        return self.trie.max_depth

    @property
    def vocab_size(self) -> int:
        return len(self.token_bytes)

    @property
    def num_words(self) -> int:
        """int32 words in a mask over this vocabulary."""
        return (len(self.token_bytes) + 31) // 32
