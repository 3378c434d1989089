"""The table of quality.py on a toy: float32 is measured against itself, int8 is not the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


def test_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a text of some words " * 60)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    arguments = ["--model", "tiny-random", "--text", str(text), "--tokens", "700"]
    monkeypatch.setattr(sys, "argv", ["quality.py", *arguments])
    import quality

    quality.main()
    printed = capsys.readouterr().out
    rows = dict(re.findall(r"\| (\w+) \| (.*) \|", printed))
    assert rows["float32"].endswith("| 1.0000 | 100.00%")
    assert float(rows["int8"].split(" | ")[0]) != float(rows["float32"].split(" | ")[0])
    assert "698 tokens" in printed  # two pieces, without the first token of each
