"""The script that lists a pass by stage: its batches are what their names say, and it adds up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sestina.backend.models.tiny import tiny_llama
from sestina.kernels.decoder import STAGES

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "decoder", raising=False)
    import decoder

    return decoder


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4x1x20", (4, 1, 20, 0)), ("2x8x3+64", (2, 8, 8, 64)), ("1x1x1", (1, 1, 1, 0))],
)
def test_shapes(script: Any, text: str, expected: tuple[int, ...]) -> None:
    assert script.Pass.parse(text) == script.Pass(*expected)


def test_a_batch_shares_what_it_should(script: Any) -> None:
    shape = script.Pass.parse("3x2x5+64")
    batch = shape.batch(tiny_llama(seed=1), torch.Generator().manual_seed(0))
    assert batch.num_tokens == 6
    assert batch.seq_lens.tolist() == [69] * 3
    assert batch.positions.tolist() == [67, 68] * 3
    assert batch.logit_rows.tolist() == [1, 3, 5]
    assert (batch.page_table[:, :64] == batch.page_table[0, :64]).all()
    own = batch.page_table[:, 64:].flatten().tolist()
    assert len(set(own)) == 15
    assert max(own) < shape.num_slots


def test_stages_add_up_to_less_than_the_pass(script: Any) -> None:
    shape = script.Pass.parse("2x3x9")
    whole, stages = script.measure(tiny_llama(seed=1), shape, runs=3, which=0.5)
    assert list(stages) == list(STAGES)
    assert 0 < sum(stages.values()) < whole
