"""SamplingParams: the one definition of what can be asked of a generation.

Everything else (merging, validating, serialising, the keyword arguments of `gen`) derives from the
fields below. None means "not said": `merge` lets a gen's own values override a run's, and
`resolved` fills in the defaults last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, TypedDict

from sestina.lang.errors import InvalidParams

MAX_STOPS = 32
MAX_N = 128
MAX_LOGPROBS = 128


class SamplingOptions(TypedDict, total=False):
    """The keyword arguments of `gen`, `run`, `engine.generate`: SamplingParams for type checkers.

    A type checker cannot read a dataclass as keyword arguments, so the names and types stand here
    once more; tests/lang/test_params.py holds the two equal.
    """

    max_tokens: int | None
    min_tokens: int | None
    n: int | None
    stop: str | list[str] | tuple[str, ...] | None
    stop_token_ids: list[int] | tuple[int, ...] | None
    stop_regex: str | list[str] | tuple[str, ...] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    logit_bias: Mapping[int, float] | None
    ignore_eos: bool | None
    heal: bool | None
    seed: int | None
    return_logprob: bool | None
    logprob_start_len: int | None
    top_logprobs_num: int | None
    return_text_in_logprobs: bool | None


def _bounded(default: Any, low: float, high: float, *, open_low: bool = False) -> Any:
    """A number: `default` when unset, refused outside [low, high] (or (low, high])."""
    return field(default=None, metadata={"default": default, "range": (low, high, open_low)})


def _plain(default: Any) -> Any:
    return field(default=None, metadata={"default": default})


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to continue a text. All fields optional; see `resolved` for the defaults.

    max_tokens: at most this many new tokens (default 128, SGLang's).
    min_tokens: no end of text and no stop before this many.
    n: how many independent continuations (distinct seeds); the text goes on with the first.
    stop / stop_token_ids / stop_regex: end before this text / after this id / before this match.
        The stop text is not part of the result.
    temperature: 0 is greedy. top_k: -1 is off. top_p in (0, 1], min_p in [0, 1].
    frequency_penalty, presence_penalty: subtracted per / at occurrence in the generated text.
    repetition_penalty: divides positive and multiplies negative logits of tokens seen (CTRL,
        Keskar et al. 2019), prompt included.
    logit_bias: added to the logit of each id, after the grammar mask (it cannot unmask).
    ignore_eos: go on after the end-of-text token; never overrides a grammar.
    heal: after constant text, let the model choose the text's last token anew, or a longer one that
        begins with it (token healing; default True). The text itself never changes.
    seed: makes this generation reproducible on its own; else it derives from the program's seed.
    return_logprob: record the log-probability of each token under the unmodified model.
    logprob_start_len: also of the prompt tokens from this index on; -1 (default) none.
    top_logprobs_num: also the most likely alternatives. return_text_in_logprobs: with their text.

    >>> SamplingParams(temperature=0.0).merge(SamplingParams(max_tokens=5)).resolved().max_tokens
    5
    """

    max_tokens: int | None = _bounded(128, 0, 1 << 20)
    min_tokens: int | None = _bounded(0, 0, 1 << 20)
    n: int | None = _bounded(1, 1, MAX_N)
    stop: tuple[str, ...] | None = _plain(())
    stop_token_ids: tuple[int, ...] | None = _plain(())
    stop_regex: tuple[str, ...] | None = _plain(())
    temperature: float | None = _bounded(1.0, 0.0, 100.0)
    top_p: float | None = _bounded(1.0, 0.0, 1.0, open_low=True)
    top_k: int | None = _bounded(-1, -1, 1 << 30)
    min_p: float | None = _bounded(0.0, 0.0, 1.0)
    frequency_penalty: float | None = _bounded(0.0, -2.0, 2.0)
    presence_penalty: float | None = _bounded(0.0, -2.0, 2.0)
    repetition_penalty: float | None = _bounded(1.0, 0.0, 2.0, open_low=True)
    logit_bias: tuple[tuple[int, float], ...] | None = _plain(())
    ignore_eos: bool | None = _plain(False)
    heal: bool | None = _plain(True)
    seed: int | None = _bounded(None, -(1 << 63), (1 << 64) - 1)
    return_logprob: bool | None = _plain(False)
    logprob_start_len: int | None = _bounded(-1, -1, 1 << 30)
    top_logprobs_num: int | None = _bounded(0, 0, MAX_LOGPROBS)
    return_text_in_logprobs: bool | None = _plain(False)

    def __post_init__(self) -> None:
        _normalise(self)
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                _check_field(f.name, value, f.metadata)
        if self.top_k == 0:
            raise InvalidParams("top_k must be -1 (off) or at least 1, got 0")
        low, high = self.min_tokens, self.max_tokens
        if low is not None and high is not None and low > high:
            raise InvalidParams(f"min_tokens ({low}) is greater than max_tokens ({high})")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SamplingParams:
        """From keyword arguments; an unknown name is refused with the known ones listed.

        `max_new_tokens` is accepted for `max_tokens`.
        """
        options = dict(options)
        if "max_new_tokens" in options:
            if "max_tokens" in options:
                raise InvalidParams("max_tokens and max_new_tokens are the same; give one")
            options["max_tokens"] = options.pop("max_new_tokens")
        known = sorted(f.name for f in fields(cls))
        for name in sorted(set(options) - set(known)):
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InvalidParams(f"unknown parameter {name!r}; {hint}known: {', '.join(known)}")
        return cls(**options)

    def merge(self, override: SamplingParams) -> SamplingParams:
        """These, with every value that `override` says replacing its own."""
        said = {f.name: v for f in fields(self) if (v := getattr(override, f.name)) is not None}
        if all(getattr(self, f.name) is None for f in fields(self)):
            return override  # as it stands: to validate it again costs 20 times this
        return replace(self, **said)

    def resolved(self) -> SamplingParams:
        """Every field set: what was not said gets its default (seed stays None)."""
        unsaid = {
            f.name: f.metadata["default"] for f in fields(self) if getattr(self, f.name) is None
        }
        return replace(self, **unsaid)

    def to_data(self) -> dict[str, Any]:
        """Only what was said, as JSON-ready data; `SamplingParams.of` reads it back."""
        return {k: v for k, v in asdict(self).items() if v is not None}


def _normalise(params: SamplingParams) -> None:
    """Accept the spellings users write (a bare string, a list, a dict) for the tuple fields."""

    def put(name: str, value: object) -> None:
        object.__setattr__(params, name, value)

    for name in ("stop", "stop_regex", "stop_token_ids"):
        value: Any = getattr(params, name)
        if isinstance(value, str) and name != "stop_token_ids":
            put(name, (value,))
        elif isinstance(value, (list, tuple)):
            put(name, tuple(value))
        elif value is not None:
            what = "token ids" if name == "stop_token_ids" else "strings"
            raise InvalidParams(f"{name} must be a list of {what}, got {value!r}")
    bias: Any = params.logit_bias
    if bias is not None:
        pairs = bias.items() if isinstance(bias, Mapping) else bias
        try:
            # JSON object keys are strings: OpenAI clients send {"15043": -100}.
            put("logit_bias", tuple((int(k), float(v)) for k, v in pairs))
        except (TypeError, ValueError):
            raise InvalidParams(f"logit_bias must map ids to numbers, got {bias!r:.80}") from None


def _check_field(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    bounds = metadata.get("range")
    if bounds is not None:
        low, high, open_low = bounds
        wants_int = isinstance(metadata["default"], int) or name == "seed"
        if isinstance(value, bool) or not isinstance(value, int if wants_int else (int, float)):
            kind = "an integer" if wants_int else "a number"
            raise InvalidParams(f"{name} must be {kind}, got {value!r}")
        # `not (...)` rather than `<`: every comparison with NaN is False.
        inside = (low < value if open_low else low <= value) and value <= high
        if not math.isfinite(value) or not inside:
            bracket = "(" if open_low else "["
            raise InvalidParams(f"{name} must be in {bracket}{low}, {high}], got {value!r}")
    elif isinstance(metadata["default"], bool):
        if not isinstance(value, bool):
            raise InvalidParams(f"{name} must be True or False, got {value!r}")
    elif name in ("stop", "stop_regex"):
        if len(value) > MAX_STOPS:
            raise InvalidParams(f"{name} has {len(value)} entries; at most {MAX_STOPS}")
        for item in value:
            if not isinstance(item, str) or not item:
                raise InvalidParams(f"{name} must hold non-empty strings, got {item!r}")
    elif name == "stop_token_ids":
        for item in value:
            if isinstance(item, bool) or not isinstance(item, int) or item < 0:
                raise InvalidParams(f"stop_token_ids must hold token ids, got {item!r}")
    elif name == "logit_bias":
        for token_id, bias in value:
            if token_id < 0 or not math.isfinite(bias):
                raise InvalidParams(
                    f"logit_bias must map ids to finite numbers: {token_id}: {bias}"
                )
