"""The reference loop: one token at a time, the whole sequence recomputed for each.

No cache, no batch, no scheduler, plain implementations of every rule. What the engine produces
must equal what this produces; it is kept as small as it can be so that it can be believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sestina.backend.batch import Model
from sestina.backend.grammar import CompiledGrammar
from sestina.backend.models.naive import sequence_logits
from sestina.backend.ops.healing import healing_seed
from sestina.backend.sampling.penalties import forbidden_ids
from sestina.backend.sampling.sampler import SampleRow, sample
from sestina.backend.tokenizer.base import Tokenizer
from sestina.lang.errors import InternalError
from sestina.lang.params import SamplingParams


class NaiveResult(NamedTuple):
    """Generated ids (without the id that ended the text), their text and why it ended.

    prompt_ids: the prompt's, with its end healed.
    """

    ids: tuple[int, ...]
    text: str
    finish_reason: str
    prompt_ids: tuple[int, ...]


def generate_naively(
    model: Model,
    tokenizer: Tokenizer,
    prompt_ids: Sequence[int],
    params: SamplingParams,
    *,
    seed: int = 0,
    grammar: CompiledGrammar | None = None,
    heal_from: int | None = None,
) -> NaiveResult:
    """Continue `prompt_ids`; O(n^2) forward work for n tokens.

    Stops are found with `str.find` over the whole text, after every token. Regex stops are not
    supported here. heal_from: where the constant text begins that the prompt ends with, whose last
    tokens are healed (see `sestina.backend.ops.healing`); None: nothing is.
    """
    params = params.resolved()
    if params.stop_regex:
        raise ValueError("the reference loop has no regex stops")
    prompt = [*prompt_ids]
    taken = _taken_back(tokenizer, prompt, heal_from) if params.heal and params.max_tokens else []
    to_heal = b"".join(map(tokenizer.token_bytes, taken))  # what must come before the output
    del prompt[len(prompt) - len(taken) :]
    start, num_skipped = len(prompt), 0
    matcher = None if grammar is None else grammar.after(to_heal).matcher()
    output: list[int] = []
    forced: list[int] = []

    def result(reason: str, end: int | None = None) -> NaiveResult:
        text = _text(tokenizer, output, num_skipped)[:end]
        return NaiveResult(tuple(output), text, reason, tuple(prompt))

    while len(output) < (params.max_tokens or 0):
        num_left = (params.max_tokens or 0) - len(output)
        if matcher is not None and not forced:
            forced = matcher.forced_tokens(num_left)
        if forced:
            token_id = forced.pop(0)
        else:
            mask = None
            if matcher is not None:
                mask = np.empty(-(-tokenizer.vocab_size // 32), np.int32)
                matcher.fill_mask(mask, num_left)
            elif to_heal:
                mask = _mask(tokenizer, _beginning(tokenizer, to_heal))
            if to_heal and mask is not None and prompt[start:] == taken[: len(prompt) - start]:
                mask |= _mask(tokenizer, [taken[len(prompt) - start]])
            logits = sequence_logits(model, [*prompt, *output], last_only=True)
            logits = logits[:, : tokenizer.vocab_size]  # padding is no token
            forbidden = forbidden_ids(params, len(output), tokenizer.eos_ids, mask)
            row = SampleRow(
                params=params,
                seed=healing_seed(seed) if to_heal else seed,
                position=len(prompt) - start if to_heal else len(output),
                prompt_ids=prompt,
                output_ids=output,
                mask=mask,
                forbidden_ids=() if to_heal else forbidden,
            )
            token_id = sample(logits, [row])[0].id
            if token_id < 0:
                raise InternalError("no token can be drawn")
            is_eos = token_id in tokenizer.eos_ids
            may_end = not to_heal and (matcher is None or matcher.is_accepting())
            if may_end and token_id in (params.stop_token_ids or ()):
                return result("stop")
            if matcher is not None and is_eos:
                return result("grammar")
            if is_eos and not params.ignore_eos:
                return result("stop")
        if matcher is not None and not matcher.accept_token(token_id):
            raise InternalError(f"the matcher refuses token {token_id}")
        num_bytes = len(tokenizer.token_bytes(token_id))
        if to_heal and num_bytes <= len(to_heal):
            prompt.append(token_id)
        else:
            num_skipped = num_skipped or len(to_heal)
            output.append(token_id)
        to_heal = to_heal[num_bytes:]
        text = _text(tokenizer, output, num_skipped)
        free_len = len(_text(tokenizer, output[: params.min_tokens or 0], num_skipped))
        cut = _first_stop(text, free_len, params.stop or (), grammar)
        if cut >= 0:
            return result("stop", cut)
        if matcher is not None and matcher.is_complete():
            return result("grammar")
    return result("length")


def _taken_back(tokenizer: Tokenizer, prompt: Sequence[int], start: int | None) -> list[int]:
    """The last tokens that together begin a longer token of the vocabulary, as many as do."""
    vocabulary = [
        tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size) if i not in tokenizer.eos_ids
    ]
    found: list[int] = []
    for first in range(max(1, start or 1), len(prompt)) if start is not None else ():
        data = b"".join(map(tokenizer.token_bytes, prompt[first:]))
        if any(token.startswith(data) and len(token) > len(data) for token in vocabulary):
            found = [*prompt[first:]]
            break
    return found


def _beginning(tokenizer: Tokenizer, data: bytes) -> list[int]:
    """The tokens that begin with these bytes, or are the beginning of them."""
    spelled = {i: tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)}
    return [i for i, b in spelled.items() if b and (b.startswith(data) or data.startswith(b))]


def _mask(tokenizer: Tokenizer, ids: Iterable[int]) -> NDArray[np.int32]:
    """int32 [W], these ids allowed."""
    words = np.zeros(-(-tokenizer.vocab_size // 32), np.uint32)
    for token_id in ids:
        words[token_id // 32] |= np.uint32(1 << (token_id % 32))
    return words.view(np.int32)


def _text(tokenizer: Tokenizer, ids: Sequence[int], num_skipped: int) -> str:
    """Without the first so many bytes. Control tokens give no text."""
    data = b"".join(map(tokenizer.token_bytes, ids))
    return data[num_skipped:].decode("utf-8", errors="replace")


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
