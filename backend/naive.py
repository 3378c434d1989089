"""The reference loop: one token at a time, the whole sequence recomputed for each.

No cache, no batch, no scheduler, plain implementations of every rule. What the engine produces
must equal what this produces; it is kept as small as it can be so that it can be believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sestina.backend.batch import Model
from sestina.backend.grammar import CompiledGrammar
from sestina.backend.models.naive import sequence_logits
from sestina.backend.sampling.penalties import forbidden_ids
from sestina.backend.sampling.sampler import SampleRow, sample
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.errors import InternalError
from sestina.lang.params import SamplingParams


class NaiveResult(NamedTuple):
    """Generated ids (without the id that ended the text), their text and why it ended."""

    ids: tuple[int, ...]
    text: str
    finish_reason: str


def generate_naively(
    model: Model,
    tokenizer: Tokenizer,
    prompt_ids: Sequence[int],
    params: SamplingParams,
    *,
    seed: int = 0,
    grammar: CompiledGrammar | None = None,
) -> NaiveResult:
    """Continue `prompt_ids`; O(n^2) forward work for n tokens.

    Stops are found with `str.find` over the whole text, after every token. Regex stops are not
    supported here.
    """
    params = params.resolved()
    if params.stop_regex:
        raise ValueError("the reference loop has no regex stops")
    matcher = None if grammar is None else grammar.matcher()
    output: list[int] = []
    forced: list[int] = []
    while len(output) < (params.max_tokens or 0):
        if matcher is not None and not forced:
            forced = matcher.forced_tokens((params.max_tokens or 0) - len(output))
        if forced:
            token_id = forced.pop(0)
        else:
            mask = None
            if matcher is not None and grammar is not None:
                mask = np.empty(-(-tokenizer.vocab_size // 32), np.int32)
                matcher.fill_mask(mask, (params.max_tokens or 0) - len(output))
            logits = sequence_logits(model, [*prompt_ids, *output], last_only=True)
            logits = logits[:, : tokenizer.vocab_size]  # padding is no token
            row = SampleRow(
                params=params,
                seed=seed,
                position=len(output),
                prompt_ids=prompt_ids,
                output_ids=output,
                mask=mask,
                forbidden_ids=forbidden_ids(params, len(output), tokenizer.eos_ids, mask),
            )
            token_id = sample(logits, [row])[0].id
            if token_id < 0:
                raise InternalError("no token can be drawn")
            is_eos = token_id in tokenizer.eos_ids
            may_end = matcher is None or matcher.is_accepting()
            if may_end and token_id in (params.stop_token_ids or ()):
                return NaiveResult(tuple(output), _text(tokenizer, output), "stop")
            if matcher is not None and is_eos:
                return NaiveResult(tuple(output), _text(tokenizer, output), "grammar")
            if is_eos and not params.ignore_eos:
                return NaiveResult(tuple(output), _text(tokenizer, output), "stop")
        if matcher is not None and not matcher.accept_token(token_id):
            raise InternalError(f"the matcher refuses token {token_id}")
        output.append(token_id)
        text = _text(tokenizer, output)
        free_len = len(_text(tokenizer, output[: params.min_tokens or 0]))
        cut = _first_stop(text, free_len, params.stop or (), grammar)
        if cut >= 0:
            return NaiveResult(tuple(output), text[:cut], "stop")
        if matcher is not None and matcher.is_complete():
            return NaiveResult(tuple(output), text, "grammar")
    return NaiveResult(tuple(output), _text(tokenizer, output), "length")


def _text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Control tokens give no text."""
    return b"".join(map(tokenizer.token_bytes, ids)).decode("utf-8", errors="replace")


def _first_stop(
    text: str, free_len: int, stops: Sequence[str], grammar: CompiledGrammar | None
) -> int:
    """Where the text is cut by the first stop to be complete after `free_len` characters; or -1.

    With a grammar, a stop ends the text only where what stands before it is complete.
    """
    matches = [
        (at + len(stop), at)
        for stop in stops
        for at in range(len(text))
        if text.startswith(stop, at) and at + len(stop) > free_len
    ]
    if grammar is not None:
        automaton = grammar.automaton
        matches = [
            (end, at)
            for end, at in matches
            if automaton.is_accepting(automaton.advance(automaton.start, text[:at].encode()))
        ]
    return min(matches)[1] if matches else -1
