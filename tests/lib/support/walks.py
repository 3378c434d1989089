"""Random walks through a grammar's masks, token by token."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from sestina.backend.grammar import compile_grammar
from sestina.backend.tokenizer.byte import ByteTokenizer
from sestina.lang.constraint import Constraint

TOKENIZER = ByteTokenizer(60)
MAX_TOKENS = 2000


def walks(
    constraint: Constraint, hints: Sequence[Sequence[int]], *, num: int = 20, num_free: int = 40
) -> list[list[int]]:
    """Texts as token ids, each allowed by the mask before it; every walk comes to an end.

    hints: ids (a byte's is its value) that the walk tries to take now and then, and most of the
        time after `num_free` tokens, since it would not meet a marker by chance, nor an end.
    """
    grammar = compile_grammar(constraint.to_grammar(), TOKENIZER)
    row = np.zeros((TOKENIZER.vocab_size + 31) // 32, dtype=np.int32)
    rng = random.Random(0)
    found = []
    for _ in range(num):
        matcher = grammar.matcher()
        ids: list[int] = []
        wanted: Sequence[int] = ()
        while True:
            assert len(ids) < MAX_TOKENS, TOKENIZER.decode(ids)
            matcher.fill_mask(row)
            bits = np.unpackbits(row.view(np.uint8), bitorder="little")
            allowed = set(np.flatnonzero(bits).tolist())
            assert allowed, f"dead end after {TOKENIZER.decode(ids)!r}"
            ends = allowed.intersection(TOKENIZER.eos_ids)
            assert bool(ends) == matcher.is_accepting()
            allowed -= ends
            hurry = len(ids) >= num_free
            if ends and (hurry or not allowed or rng.random() < 0.02):
                found.append(ids)
                break
            if not wanted and rng.random() < (0.9 if hurry else 0.3):
                wanted = rng.choice(hints)
            if wanted and wanted[0] in allowed:
                token, wanted = wanted[0], wanted[1:]
            else:
                token, wanted = rng.choice(sorted(allowed)), ()
            assert matcher.accept_token(token)
            ids.append(token)
    return found
