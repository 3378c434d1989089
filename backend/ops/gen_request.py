"""What a generation is asked for, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sestina.backend.grammar import CompiledGrammar
from sestina.backend.ops.healing import Healed
from sestina.backend.ops.known_tokens import KnownTokens
from sestina.backend.sampling.penalties import changes_logits
from sestina.backend.sampling.sampler import SampleRow, row_settings
from sestina.backend.sampling.stop import StopAutomaton
from sestina.backend.scheduler.sequence import NEVER, Counters, Drawing
from sestina.lang.errors import SestinaError
from sestina.lang.params import SamplingParams
from sestina.lang.session import GenMeta, TokenLogprob

Ending = tuple[str, str | int | None]
"""The reason (see `GenMeta.finish_reason`), and the stop that was met."""

COUNTED = sorted({f.name for f in fields(Counters)} & {f.name for f in fields(GenMeta)})
"""What a gen's meta says of its counters."""


@dataclass(frozen=True, slots=True)
class GenRequest:
    """What to generate: `params` resolved, `seed` final, the constraint and stops compiled.

    healed: tokens that were taken off the end of the sequence, see `sestina.backend.ops.healing`.
    """

    params: SamplingParams
    seed: int
    grammar: CompiledGrammar | None = None
    healed: Healed | None = None
    stop_regexes: tuple[StopAutomaton, ...] = ()

    def is_complete(self, text: str) -> bool:
        """Whether the constraint, if there is one, takes the whole text."""
        if self.grammar is None:
            return True
        automaton = self.grammar.automaton
        return automaton.is_accepting(automaton.advance(automaton.start, text.encode()))

    def ending(
        self, token_id: int, eos_ids: Collection[int], *, is_complete: bool
    ) -> Ending | None:
        """How the text ends at this token, which then is not part of it; None if it does not.

        is_complete: of the constraint, after what is there.
        """
        if token_id in (self.params.stop_token_ids or ()) and is_complete:
            return "stop", token_id
        if token_id in eos_ids and self.grammar is not None:
            return "grammar", token_id  # the mask allows it only where complete
        if token_id in eos_ids and not self.params.ignore_eos:
            return "stop", token_id
        return None


@dataclass(frozen=True, slots=True)
class GenResult:
    """`text` is the value; `tail` is its end that no kept token covers (a stop cut a token in two):
    it has to be tokenised again with whatever follows."""

    text: str
    tail: str
    meta: GenMeta


@dataclass(frozen=True, slots=True)
class GenCallbacks:
    """Where a generation reports: text as it becomes certain (None: nobody reads it before the
    end), then a result or an error."""

    on_text: Callable[[str, tuple[int, ...], tuple[TokenLogprob, ...]], None] | None
    on_result: Callable[[GenResult], None]
    on_error: Callable[[SestinaError], None]


def new_drawing(
    params: SamplingParams,
    seed: int,
    start: int,
    *,
    watched: NDArray[np.int32] | None,
    has_mask: bool,
    num_mask_words: int,
    is_healing: bool,
) -> Drawing:
    """How an output that begins at `start` is drawn; while it is healing, nothing ends it."""
    num_free = 0 if is_healing else params.min_tokens or 0
    return Drawing(
        params=params,
        settings=row_settings([SampleRow(params, seed, start)]),
        watched=watched,
        num_mask_words=num_mask_words if has_mask else 0,
        changed_until=start + (NEVER if changes_logits(params) else num_free),
    )


def new_meta(
    request: GenRequest,
    ending: Ending,
    text: str,
    start: int,
    ids: tuple[int, ...],
    counters: Counters,
    known: KnownTokens | None,
) -> GenMeta:
    """Of an output of these tokens, that begins at `start` of its sequence."""
    reason, matched = ending
    has_prompt = known is not None and known.first < start
    return GenMeta(
        finish_reason=reason,
        text=text,
        matched=matched,
        seed=request.seed,
        **{name: getattr(counters, name) for name in COUNTED},
        ids=ids,
        logprobs=known.between(start, start + len(ids)) if known else None,
        prompt_logprobs=known.between(known.first, start) if known and has_prompt else None,
    )
