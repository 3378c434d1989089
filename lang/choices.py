"""Choosing among options by log-probability: SGLang's three methods as pure functions.

Option i has tokens j with log-probability l_ij given the prompt, and u_ij given nothing before the
option. Every method scores all options; the highest score wins and the lowest index wins a tie.

    token_length_normalized             mean_j l_ij
    greedy_token_selection              how many tokens the option survives when at each position
                                        only the options with the highest l_ij stay; a shorter
                                        option goes on with its own mean
    unconditional_likelihood_normalized mean_j (l_ij - u_ij), with u_i0 = 0 where it is unknown

(Zheng et al., "SGLang: Efficient Execution of Structured Language Model Programs", NeurIPS 2024;
sglang/lang/choices.py, without its defect of dropping log-probabilities of exactly 0.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sestina.lang.errors import InvalidParams
from sestina.lang.ir import ChoicesMethod
from sestina.lang.session import ChoiceScore

token_length_normalized: ChoicesMethod = "token_length_normalized"
greedy_token_selection: ChoicesMethod = "greedy_token_selection"
unconditional_likelihood_normalized: ChoicesMethod = "unconditional_likelihood_normalized"

Logprobs = Sequence[Sequence[float]]


def score_choices(
    method: ChoicesMethod,
    choices: Sequence[str],
    token_logprobs: Logprobs,
    unconditional: Sequence[Sequence[float | None]] | None = None,
) -> list[ChoiceScore]:
    """The score and the posterior of every option, in order.

    `token_logprobs[i]` are the natural-log probabilities of option i's tokens, at least one each,
    none above 0 by more than rounding; -inf is allowed. `unconditional` has the same shape and is
    needed by unconditional_likelihood_normalized alone. ValueError where the shapes do not fit.
    """
    _check(choices, token_logprobs)
    u = None if unconditional is None else _known(token_logprobs, unconditional)
    scores = method_named(method)(token_logprobs, u)
    joint = [math.fsum(row) for row in token_logprobs]
    return [
        ChoiceScore(text, score, logprob, probability, tuple(row), tuple(u[i]) if u else None)
        for i, (text, score, logprob, probability, row) in enumerate(
            zip(choices, scores, joint, softmax(joint), token_logprobs, strict=True)
        )
    ]


def pick(scores: Sequence[ChoiceScore]) -> int:
    """The index of the highest score; of several, the lowest.

    >>> pick(score_choices(token_length_normalized, ["a", "b"], [[-1.0, 0.0, -2.0], [-1.1]]))
    0
    """
    return max(range(len(scores)), key=lambda i: scores[i].score)


def softmax(logprobs: Sequence[float]) -> list[float]:
    """exp(l_i) / sum_k exp(l_k), without overflow; uniform when every l_i is -inf."""
    top = max(logprobs)
    if top == -math.inf:
        return [1.0 / len(logprobs)] * len(logprobs)
    weights = [math.exp(value - top) for value in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def method_named(name: str) -> Callable[[Logprobs, Logprobs | None], list[float]]:
    """The scoring function of a method; InvalidParams for an unknown name."""
    if name not in _METHODS:
        raise InvalidParams(f"unknown choices_method {name!r}; known: {', '.join(_METHODS)}")
    return _METHODS[name]


def _check(choices: Sequence[str], logprobs: Logprobs) -> None:
    if not choices:
        raise ValueError("no options to score")
    if len(choices) != len(logprobs):
        raise ValueError(f"{len(choices)} options but log-probabilities of {len(logprobs)}")
    for text, row in zip(choices, logprobs, strict=True):
        if not row:
            raise ValueError(f"option {text!r} has no tokens")
        if any(math.isnan(value) for value in row):
            raise ValueError(f"option {text!r} has a log-probability that is not a number")


def _known(logprobs: Logprobs, unconditional: Sequence[Sequence[float | None]]) -> Logprobs:
    """u with None read as 0: the first token of a text has no condition to be scored under."""
    if [len(row) for row in logprobs] != [len(row) for row in unconditional]:
        raise ValueError("unconditional log-probabilities must have the shape of the conditional")
    return [[0.0 if value is None else value for value in row] for row in unconditional]


def _mean(row: Sequence[float]) -> float:
    return math.fsum(row) / len(row)


def _token_length_normalized(logprobs: Logprobs, _: Logprobs | None) -> list[float]:
    return [_mean(row) for row in logprobs]


def _greedy_token_selection(logprobs: Logprobs, _: Logprobs | None) -> list[float]:
    longest = max(len(row) for row in logprobs)
    padded = [[*row, *[_mean(row)] * (longest - len(row))] for row in logprobs]
    survived = [0.0] * len(padded)
    remaining = list(range(len(padded)))
    for j in range(longest):
        best = max(padded[i][j] for i in remaining)
        remaining = [i for i in remaining if padded[i][j] == best]
        for i in remaining:
            survived[i] += 1.0
    return survived


def _unconditional(logprobs: Logprobs, unconditional: Logprobs | None) -> list[float]:
    if unconditional is None:
        raise ValueError(
            "unconditional_likelihood_normalized needs unconditional log-probabilities"
        )
    # -inf - -inf is not a number; a token that cannot follow the prompt settles it at -inf.
    return [
        _mean([c if c == -math.inf else c - u for c, u in zip(row, base, strict=True)])
        for row, base in zip(logprobs, unconditional, strict=True)
    ]


_METHODS: Mapping[str, Callable[[Logprobs, Logprobs | None], list[float]]] = MappingProxyType(
    {
        token_length_normalized: _token_length_normalized,
        greedy_token_selection: _greedy_token_selection,
        unconditional_likelihood_normalized: _unconditional,
    }
)
