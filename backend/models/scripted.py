"""A model that answers from a script, and finds out whether its KV pages are right.

What a real model keeps as keys and values, this one keeps as the token ids themselves. The logits
of a token are a function of the sequence read back through the page table, so a page that was
freed too early, shared wrongly or never stored changes the output or raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sestina.backend.batch import Batch, KVPool, ModelConfig
from sestina.lang.errors import InternalError

Script = Callable[[tuple[int, ...]], "int | Sequence[float] | Tensor"]
"""All tokens so far -> the next token's id, or its logits [V]."""

CERTAIN = 100.0
"""The logit of an id that a script names; all others are 0."""


def prefix_hash_script(vocab_size: int, seed: int = 0) -> Script:
    """Pseudo-random logits [V], standard normal times 3, from a hash of the whole prefix.

    >>> script = prefix_hash_script(8)
    >>> bool((script((1, 2)) == script((1, 2))).all()), bool((script((1, 2)) == script((2,))).all())
    (True, False)
    """

    def script(tokens: tuple[int, ...]) -> Tensor:
        digest = hashlib.blake2b(repr((seed, tokens)).encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        return torch.randn(vocab_size, generator=generator) * 3.0

    return script


class ScriptedModel:
    """A `Model` of one layer, one head and two lanes: a slot's K is (id, position + 1), its V the
    same two swapped. Exact for ids and positions below 2**24. `script` None is the hash script.

    `forward` raises InternalError where the pages or the batch contradict each other.
    """

    def __init__(
        self, script: Script | None = None, vocab_size: int = 320, max_len: int = 4096
    ) -> None:
        self._script = script or prefix_hash_script(vocab_size)
        self._config = ModelConfig(
            architecture="Scripted",
            vocab_size=vocab_size,
            hidden_size=2,
            intermediate_size=2,
            num_layers=1,
            num_heads=1,
            num_kv_heads=1,
            head_dim=2,
            max_len=max_len,
            rms_norm_eps=1e-5,
            rope_theta=10000.0,
            rope_scaling={},
            tie_embeddings=True,
        )

    @property
    def config(self) -> ModelConfig:
        return self._config

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def kv_dtype(self) -> torch.dtype:
        return torch.float32

    def forward(self, batch: Batch, kv: KVPool) -> Tensor:
        """Logits [N, V] float32; costs the sum of the lengths of the sequences wanted."""
        rows = [_Row.of(batch, b) for b in range(batch.num_rows)]
        _check(batch, rows, self._config)
        entry = torch.stack([batch.token_ids, batch.positions + 1], dim=1).float()  # [T, 2]
        kv.k[0, batch.slots, 0] = entry
        kv.v[0, batch.slots, 0] = entry.flip(1)
        wanted = batch.logit_rows.tolist()
        logits = torch.zeros((len(wanted), self._config.vocab_size))
        for out, t in zip(logits, wanted, strict=True):
            row = next(row for row in rows if row.start <= t < row.end)
            answer = self._script(_read_back(batch, kv, row, row.seq_len - (row.end - t) + 1))
            if isinstance(answer, int):
                out[answer] = CERTAIN
            else:
                out[:] = torch.as_tensor(answer)
        return logits


@dataclass(frozen=True, slots=True)
class _Row:
    """Row b of a batch: tokens start .. end - 1, of a sequence of seq_len, in this table row."""

    start: int
    end: int
    seq_len: int
    table_row: int

    @classmethod
    def of(cls, batch: Batch, b: int) -> _Row:
        return cls(
            int(batch.query_start[b]),
            int(batch.query_start[b + 1]),
            int(batch.seq_lens[b]),
            int(batch.table_rows[b]),
        )


def _check(batch: Batch, rows: Sequence[_Row], config: ModelConfig) -> None:
    """Everything the Batch contract promises that a real model would silently rely on."""
    if rows and (rows[0].start != 0 or rows[-1].end != batch.num_tokens):
        raise InternalError(f"query_start {batch.query_start.tolist()} does not cover the batch")
    if len(set(batch.slots.tolist())) != batch.num_tokens:
        raise InternalError("two new tokens of one batch have the same slot")
    if batch.num_tokens and not 0 <= int(batch.token_ids.min()) <= int(batch.token_ids.max()) < (
        config.vocab_size
    ):
        raise InternalError(f"token ids outside the vocabulary of {config.vocab_size}")
    for row in rows:
        if not row.start < row.end or row.seq_len > config.max_len:
            raise InternalError(f"{row} is empty or longer than {config.max_len}")
        first = row.seq_len - (row.end - row.start)
        positions = list(range(first, row.seq_len))
        if batch.positions[row.start : row.end].tolist() != positions:
            raise InternalError(f"{row} has positions other than {first} .. {row.seq_len - 1}")
        table = batch.page_table[row.table_row, first : row.seq_len]
        if not torch.equal(table.long(), batch.slots[row.start : row.end]):
            raise InternalError(f"{row}: the page table does not hold the new tokens' slots")


def _read_back(batch: Batch, kv: KVPool, row: _Row, length: int) -> tuple[int, ...]:
    """The first `length` tokens of a row's sequence, as the pool has them."""
    slots = batch.page_table[row.table_row, :length].long()
    ids, positions = kv.k[0, slots, 0].long().unbind(dim=1)
    if not torch.equal(kv.v[0, slots, 0].long(), torch.stack([positions, ids], dim=1)):
        raise InternalError(f"{row}: keys and values of one slot disagree")
    wrong = (positions != torch.arange(1, length + 1)).nonzero()
    if len(wrong):
        s = int(wrong[0])
        raise InternalError(
            f"{row}: slot {int(slots[s])} should hold position {s}, "
            f"it holds {int(positions[s]) - 1} (-1: never stored)"
        )
    return tuple(ids.tolist())
