"""The settings of an engine: one list, and everything out of range is refused by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from sestina import Engine, InvalidParams
from sestina.backend.options import EngineOptions, EngineSettings


def test_type_checkers_see_the_same_options() -> None:
    assert get_type_hints(EngineSettings) == get_type_hints(EngineOptions)
    assert set(EngineSettings.__annotations__) == {f.name for f in fields(EngineOptions)}


@pytest.mark.parametrize(
    "settings",
    [
        {"max_running": 0},
        {"max_total_tokens": 0},
        {"max_batch_tokens": "many"},
        {"threads": True},
        {"trace": -1},
        {"max_unread": 1},
    ],
)
def test_what_is_out_of_range_is_refused_before_anything_is_loaded(settings: Any) -> None:
    with pytest.raises(InvalidParams, match=next(iter(settings))):
        Engine("no such model", **settings)


def test_an_unknown_option_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(InvalidParams, match="did you mean 'max_running'"):
        EngineOptions.of({"max_runing": 3})
