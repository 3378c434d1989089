"""The scheduler's benchmark measures what it says: steps in which every branch decodes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


def test_every_step_is_measured_and_its_parts_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "scheduler", raising=False)
    import scheduler

    workloads = ["--workload", "plain", "streamed"]
    options = ["--branches", "2", "--steps", "3", "--parts", *workloads]
    monkeypatch.setattr(sys, "argv", ["scheduler", *options])
    scheduler.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("plain", "streamed"))]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("plain", "2", "3"),
        ("streamed", "2", "3"),
    ]
    assert {"build_batch", "deliver", "plan", "commit"} <= {line.split()[0] for line in lines}
