"""A tokenizer's vocabulary as the grammar engine walks it."""

from __future__ import annotations

from dataclasses import dataclass

from sestina.backend.grammar.clamp import SHORT_LEN
from sestina.backend.tokenizer.base import Tokenizer
from sestina.kernels.token_mask import Trie, build_trie


@dataclass(frozen=True, slots=True, eq=False)
class TokenTrie:
    """The text tokens of one vocabulary; immutable, shared by all grammars over it.

    token_bytes: of every id; b"" for control tokens, unused ids and those that end the text.
    short, long, all: tries over the tokens of up to SHORT_LEN bytes, the longer ones, and both.
    byte_mask: the bytes that occur in any token; nothing else can be written.
    """

    fingerprint: str
    token_bytes: tuple[bytes, ...]
    eos_ids: tuple[int, ...]
    short: Trie
    long: Trie
    all: Trie
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
        return cls(
            tokenizer.fingerprint,
            tuple(spelled),
            eos_ids,
            build_trie([token for token in tokens if len(token[0]) <= SHORT_LEN]),
            build_trie([token for token in tokens if len(token[0]) > SHORT_LEN]),
            build_trie(tokens),
            byte_mask,
        )

    @property
    def max_len(self) -> int:
        """Bytes in the longest token."""
        return self.all.max_depth

    @property
    def vocab_size(self) -> int:
        return len(self.token_bytes)

    @property
    def num_words(self) -> int:
        """int32 words in a mask over this vocabulary."""
        return (len(self.token_bytes) + 31) // 32
