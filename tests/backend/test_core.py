from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.engines import scripted_engine

from sestina import InvalidParams, SamplingParams
from sestina.backend.core import Core


@pytest.fixture
def core() -> Iterator[Core]:
    with scripted_engine() as engine:
        yield engine._core


def test_parameters_resolve_to_the_same_whether_or_not_they_were_met_before(core: Core) -> None:
    defaults = SamplingParams(temperature=0.5, top_k=3)
    for seed in [*range(300), *range(300)]:
        params = SamplingParams(seed=seed, top_k=4)
        assert core.resolve(defaults, params) == defaults.merge(params).resolved()


def test_parameters_that_are_refused_are_refused_again(core: Core) -> None:
    wrong = SamplingParams(stop_token_ids=(10**6,))
    for _ in range(2):
        with pytest.raises(InvalidParams, match="stop_token_ids"):
            core.resolve(SamplingParams(), wrong)
