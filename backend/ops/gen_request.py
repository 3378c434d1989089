"""What a generation is asked for, and what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sestina.backend.grammar import CompiledGrammar
from sestina.backend.ops.healing import Healed
from sestina.backend.sampling.stop import StopAutomaton
from sestina.lang.errors import SestinaError
from sestina.lang.params import SamplingParams
from sestina.lang.session import GenMeta, TokenLogprob


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
