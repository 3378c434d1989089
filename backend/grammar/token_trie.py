"""A tokenizer's vocabulary as the grammar engine walks it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar.core.masks import SHORT_LEN
from sestina.backend.grammar.core.threads import look_below
from sestina.backend.grammar.core.walks import NODE_BITS
from sestina.backend.tokenizer.base import Tokenizer
from sestina.kernels.token_mask import Trie, build_trie


@dataclass(frozen=True, slots=True, eq=False)
class TokenTrie:
    """The text tokens of one vocabulary; immutable, shared by all grammars over it.

    token_bytes: of every id; b"" for control tokens, unused ids and those that end the text.
    below: groups and height, see `sestina.backend.grammar.core.threads.Tokens`.
    trie: two tries in one, that of the tokens of up to SHORT_LEN bytes, in the first `num_short`
        nodes, and that of the longer ones.
    spelling, starts: token_bytes as uint8 and int32 [V + 1], one after the other.
    byte_mask: the bytes that occur in any token; nothing else can be written.
    """

    fingerprint: str
    token_bytes: tuple[bytes, ...]
    eos_ids: tuple[int, ...]
    trie: Trie
    num_short: int
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
        short = build_trie([token for token in tokens if len(token[0]) <= SHORT_LEN])
        long = build_trie([token for token in tokens if len(token[0]) > SHORT_LEN])
        joined = _joined(short, long)
        if len(joined.byte) >> NODE_BITS:
            raise ValueError(f"a vocabulary of {len(joined.byte)} trie nodes is too large")
        lengths = np.array([0, *map(len, spelled)], np.int32)
        return cls(
            tokenizer.fingerprint,
            tuple(spelled),
            eos_ids,
            joined,
            len(short.byte),
            look_below(joined.byte, joined.end),
            np.frombuffer(b"".join(spelled), np.uint8),
            np.cumsum(lengths, dtype=np.int32),
            byte_mask,
        )

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


def _joined(first: Trie, second: Trie) -> Trie:
    """The nodes of two tries, one after the other."""
    num_nodes, num_tokens = np.int32(len(first.byte)), np.int32(len(first.token_ids))
    return Trie(
        np.concatenate((first.byte, second.byte)),
        np.concatenate((first.depth, second.depth)),
        np.concatenate((first.end, second.end + num_nodes)),
        np.concatenate((first.token_start[:-1], second.token_start + num_tokens)),
        np.concatenate((first.token_ids, second.token_ids)),
        np.concatenate((first.roots, second.roots + num_nodes)),
        max(first.max_depth, second.max_depth),
    )
