"""The code in the README runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_first_example(capsys: pytest.CaptureFixture[str]) -> None:
    from sestina.backend.weights.fetch import cached_model

    if cached_model("smollm2-135m-instruct") is None:
        pytest.skip("the model is not in the cache: sestina models pull smollm2-135m-instruct")
    code = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[0]
    exec(compile(code, str(README), "exec", dont_inherit=True), {"__name__": "readme"})
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README.read_text("utf-8"))
    assert targets
    missing = [t for t in targets if not (README.parent / t).exists()]
    assert not missing
