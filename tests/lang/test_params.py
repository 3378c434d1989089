"""SamplingParams: one definition, and mistakes that are named."""

from __future__ import annotations

import typing
from dataclasses import fields
from typing import Any

import pytest

from sestina.lang.errors import InvalidParams
from sestina.lang.params import SamplingOptions, SamplingParams


def test_the_keyword_arguments_are_the_fields() -> None:
    assert list(SamplingOptions.__annotations__) == [f.name for f in fields(SamplingParams)]
    hints = typing.get_type_hints(SamplingOptions)
    for field in fields(SamplingParams):
        value = getattr(SamplingParams().resolved(), field.name)
        allowed = [typing.get_origin(t) or t for t in typing.get_args(hints[field.name])]
        assert value is None or isinstance(value, tuple) or type(value) in allowed


def test_max_new_tokens_is_max_tokens_everywhere() -> None:
    assert SamplingParams.of({"max_new_tokens": 3}) == SamplingParams(max_tokens=3)
    with pytest.raises(InvalidParams, match="are the same"):
        SamplingParams.of({"max_new_tokens": 3, "max_tokens": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temprature": 1.0}, "unknown parameter 'temprature'; did you mean 'temperature'"),
        ({"lora": 1.0}, "unknown parameter 'lora'; known: "),
        ({"stop": 5}, "stop must be a list of strings, got 5"),
        ({"stop": b"a"}, "stop must be a list of strings"),
        ({"stop": ["a", None]}, "non-empty strings, got None"),
        ({"stop_regex": {"a": 1}}, "stop_regex must be a list of strings"),
        ({"stop_token_ids": 7}, "stop_token_ids must be a list of token ids, got 7"),
        ({"stop_token_ids": "7"}, "stop_token_ids must be a list of token ids"),
        ({"logit_bias": {"x": 1}}, "logit_bias must map ids to numbers"),
        ({"logit_bias": [1]}, "logit_bias must map ids to numbers"),
        ({"logit_bias": {1: float("nan")}}, "logit_bias must map ids to finite numbers"),
        ({"max_tokens": "5"}, "max_tokens must be an integer, got '5'"),
        ({"max_tokens": True}, "max_tokens must be an integer"),
        ({"top_k": 0}, "top_k must be -1"),
        ({"top_p": 0}, "top_p must be in"),
        ({"return_logprob": 1}, "True or False"),
        ({"min_tokens": 5, "max_tokens": 4}, "greater than"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParams, match=message):
        SamplingParams.of(options)
