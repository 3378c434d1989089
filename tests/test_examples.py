"""Every example runs: on a tiny random model always, on the real one where it was fetched."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sestina.backend.weights.fetch import cached_model

EXAMPLES = Path(__file__).parent.parent / "examples"
NUMBERED = sorted(EXAMPLES.glob("[0-9]*.py"))
DOCUMENTS = sorted((EXAMPLES / "data").glob("*.txt"))
REAL = "smollm2-135m-instruct"


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pydantic look annotations up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def real_model() -> str:
    if cached_model(REAL) is None:
        pytest.skip(f"{REAL} is not in the cache: sestina models pull {REAL}")
    return REAL


def test_the_examples_are_there_and_short() -> None:
    assert [path.name[:2] for path in NUMBERED] == [f"{i:02}" for i in range(1, len(NUMBERED) + 1)]
    assert len(NUMBERED) >= 6
    for path in NUMBERED:
        assert len(path.read_text().splitlines()) < 60, path.name


def test_the_documents_are_what_the_demo_says() -> None:
    assert len(DOCUMENTS) >= 12
    for path in DOCUMENTS:
        assert 150 <= len(path.read_text(encoding="utf-8").split()) <= 400, path.name


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_example(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(path).main("tiny-random")
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_example_on_the_real_model(
    path: Path, real_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(path).main(real_model)
    assert capsys.readouterr().out


def check_demo(main: Callable[..., int], out: Path, model: str, num_documents: int) -> None:
    assert main(str(out), model) == 0
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(records) == num_documents


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document of each kind, so that it takes seconds with a byte tokenizer too."""
    demo = load(EXAMPLES / "extract_demo.py")
    demo.INSTRUCTIONS = "Read."  # the toy has room for 2,048 tokens, and its tokens are bytes
    demo.DATA = tmp_path / "data"
    demo.DATA.mkdir()
    for path in (path for path in DOCUMENTS if path.stem.endswith("01")):
        (demo.DATA / path.name).write_text(path.read_text(encoding="utf-8")[:200], "utf-8")
    check_demo(demo.main, tmp_path / "new" / "out.jsonl", "tiny-random", 4)
    assert "4 of 4 records" in capsys.readouterr().out


@pytest.mark.slow
def test_demo_on_the_real_model(
    tmp_path: Path, real_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main = load(EXAMPLES / "extract_demo.py").main
    check_demo(main, tmp_path / "out.jsonl", real_model, len(DOCUMENTS))
    assert f"{len(DOCUMENTS)} of {len(DOCUMENTS)} records" in capsys.readouterr().out
