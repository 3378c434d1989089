"""The mask benchmark counts what an engine does, whatever it does, and its tables say so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests/data/benchmarks/fake_engine.py"

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)

VALID = {"valid": True, "ids": [1, 2]}
INVALID = {"valid": False, "ids": [1, 3]}
TEXT = {"allow": [1, 2], "ends": True}


@pytest.fixture(scope="module", autouse=True)
def _scripts() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import mask_process

    vocabulary = tmp_path_factory.mktemp("mask") / "vocabulary.json"
    tokens = {"tokens": [], "eos_ids": [7], "eos_token": "", "source": "", "tokenizer_file": ""}
    vocabulary.write_text(json.dumps(tokens))
    mask_process.SCRIPTS["fake"] = str(FAKE)
    engine = mask_process.MaskProcess(
        mask_process.EngineSpec("fake", {}, sys.executable), vocabulary, seconds=60, clock="wall"
    )
    yield engine
    engine.close()


@pytest.mark.parametrize(
    ("schema", "verdict"),
    [
        (TEXT, "passed"),
        ({**TEXT, "ends": False}, "valid rejected"),
        ({**TEXT, "allow": [1]}, "valid rejected"),
        ({**TEXT, "allow": [1, 2, 3]}, "invalid accepted"),
        ({**TEXT, "allow": [1, 3]}, "invalid accepted"),
        ({**TEXT, "accepts": [1]}, "failed"),
        ({"at compile": "raise"}, "refused"),
        ({"at walk": "raise"}, "failed"),
    ],
)
def test_verdicts(process: Any, schema: dict[str, Any], verdict: str) -> None:
    answer = process.ask(schema, [VALID, INVALID])
    assert answer["verdict"] == verdict
    assert "lost" not in answer
    assert len(answer["mask_ns"]) == len(answer["accept_ns"])


def test_every_mask_is_timed_and_its_accept_beside_it(process: Any) -> None:
    answer = process.ask(TEXT, [VALID, INVALID])
    assert all(ns > 0 for ns in answer["mask_ns"])
    # a token, a token, the end; a token, one that is refused
    assert [ns > 0 for ns in answer["accept_ns"]] == [True, True, False, True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "verdict", "says"),
    [
        ({"at compile": "die"}, "refused", "exit status 3"),
        ({"at walk": "die"}, "failed", "last words"),
        ({"at compile": "hang"}, "refused", "no answer in 1 s"),
    ],
)
def test_a_lost_process_is_counted_and_replaced(
    process: Any, schema: dict[str, Any], verdict: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = process.num_starts
    with monkeypatch.context() as patched:
        if "hang" in schema.values():
            patched.setattr(process, "seconds", 1)
        answer = process.ask(schema, [VALID])
    assert answer["verdict"] == verdict
    assert says in answer["lost"]
    assert process.ask(TEXT, [VALID])["verdict"] == "passed"
    assert process.num_starts == starts + 1


def outcome(name: str, verdict: str = "passed", *, is_copy: bool = False, **answer: Any) -> Any:
    from mask_table import Outcome

    timed = {"compile_ns": 2_000_000, "mask_ns": [1000, 3000], "accept_ns": [500, 0]}
    return Outcome.of(name, is_copy, {"verdict": verdict, **timed, **answer})


def test_a_table_counts_all_and_times_what_is_no_copy() -> None:
    from mask_table import summary

    refused = {"mask_ns": [], "accept_ns": [], "compile_ns": None}
    row = summary(
        [
            outcome("a"),
            outcome("b", is_copy=True, mask_ns=[10**9] * 2),
            outcome("c", "refused", **refused, lost="no answer"),
            outcome("d", "invalid accepted", compile_ns=4_000_000),
        ]
    )
    assert (row["passed"], row["refused"], row["invalid accepted"]) == ("2", "1 (1 lost)", "1")
    assert row["mask us avg / p50 / p99 / p99.9"] == "2.00 / 2.00 / 3.00 / 3.00"
    assert row["compile ms p50 / avg / p99"] == "3.00 / 3.00 / 3.98"
    assert row["compile + first mask ms p50 / avg / p99"] == "3.00 / 3.00 / 3.98"
    assert row["accept us avg / p50 / p99 / p99.9"] == "0.50 / 0.50 / 0.50 / 0.50"
    assert row["mask + accept us avg / p50 / p99 / p99.9"] == "1.50 / 1.50 / 1.50 / 1.50"
    assert row["all work ms a schema"] == "3.00"


def test_times_are_compared_over_what_is_passed_by_all_and_by_two() -> None:
    from mask_table import tables

    slow = {"mask_ns": [9000, 9000]}
    rows = {
        "one": [outcome("a"), outcome("b", **slow)],
        "two": [outcome("a"), outcome("b", "valid rejected", **slow)],
        "three": [outcome("a"), outcome("b", **slow)],
    }
    shown = tables(rows)
    assert "over all 2 schemas" in shown
    by_all, _, by_two = shown.partition("over the 1 schemas that every engine passes")[2].partition(
        "over the schemas that one and another engine both pass"
    )
    assert by_all.count("| 2.00 / 2.00 / 2.98 / 3.00 ") == 3
    assert "9.00" not in by_all
    heads = [line.split("/")[0].replace(" ", "") for line in by_two.splitlines()[4:]]
    assert heads == ["|1|one|2.00", "|1|two|2.00", "|2|one|5.50", "|2|three|5.50"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("xgrammar=/v/python", "xgrammar"),
        ('xgrammar:{"strict_mode": false}=python', "xgrammar strict_mode=false"),
        ('llguidance:{"item_separator": ", "}=python', 'llguidance item_separator=", "'),
        ("other=python", None),
        ("xgrammar", None),
    ],
)
def test_how_a_peer_is_named(text: str, label: str | None) -> None:
    from mask_process import parse_spec

    if label is None:
        with pytest.raises(ValueError, match="expected NAME"):
            parse_spec(text)
    else:
        assert parse_spec(text).label == label
