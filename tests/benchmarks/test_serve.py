"""The serving benchmark gives every engine the same work and tells what it did."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests/data/benchmarks/fake_peer.py"

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)

WORDS = re.compile(r"\S+")


@pytest.fixture(scope="module", autouse=True)
def _scripts() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


def count_words(text: str) -> int:
    return len(WORDS.findall(text))


def start(**options: Any) -> Any:
    import serve_process
    from engine_process import EngineSpec

    serve_process.SCRIPTS["fake"] = str(FAKE)
    spec = EngineSpec("fake", options, sys.executable)
    return serve_process.ServeProcess(spec, {"dtype": "bfloat16"}, seconds=60)


@pytest.fixture(scope="module")
def batched() -> Iterator[Any]:
    process = start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def single() -> Iterator[Any]:
    process = start(batched=False)
    yield process
    process.close()


FREE = {"max_tokens": 4}
COMPLETE = {"kind": "complete", "requests": [{"prompt": p, "gen": FREE} for p in ("ab", "cde")]}
TURNS = {"kind": "turns", "programs": [["a", "bc"], ["b", "d"]], "gen": FREE, "delay_s": 0}
FORK = {
    "kind": "fork",
    "contexts": ["abc", "de"],
    "branches": ["x", "yz"],
    "gen": FREE,
    "merge": "!",
    "merge_gen": FREE,
}
TREE = {"kind": "tree", "questions": ["q"], "levels": [["a", "b"], ["c", "d"]], "gen": FREE}


@pytest.mark.parametrize(
    ("data", "texts", "num_calls"),
    [
        (COMPLETE, ["<2>", "<3>"], (1, 1)),
        (TURNS, ["<1>", "<1>", "<6>", "<5>"], (2, 4)),
        (FORK, ["<4>", "<5>", "<3>", "<4>", "<18>", "<17>"], (2, 4)),
        (TREE, ["<2>", "<2>", "<6>", "<6>", "<6>", "<6>"], (2, 2)),
    ],
)
def test_every_kind_of_workload(
    batched: Any, single: Any, data: dict[str, Any], texts: list[str], num_calls: tuple[int, int]
) -> None:
    for process, calls in zip((batched, single), num_calls, strict=True):
        answer = process.ask(data)
        assert sorted(answer["texts"]) == sorted(texts)
        assert answer["counters"] == {"calls": calls}
        assert answer["seconds"] > 0
        assert all(any(t in whole for t in texts) for whole in answer["sequences"])


def test_what_an_engine_cannot_do_is_told(batched: Any) -> None:
    select = {"kind": "select", "prefix": "", "questions": []}
    assert "no scoring" in batched.ask(select)["refused"]
    raising = {"kind": "complete", "requests": [{"prompt": "raise", "gen": FREE}]}
    assert "not today" in batched.ask(raising)["refused"]


@pytest.mark.slow
def test_a_process_that_ends_is_started_again() -> None:
    process = start()
    dying = {"kind": "complete", "requests": [{"prompt": "die", "gen": FREE}]}
    assert "last words" in process.ask(dying)["refused"]
    assert process.ask(COMPLETE)["texts"] == ["<2>", "<3>"]
    process.close()


def test_the_table(batched: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import serve
    from serve_workloads import Row

    def draw(seed: int, is_small: bool) -> list[Row]:
        dying = {"kind": "complete", "requests": [{"prompt": "raise", "gen": FREE}]}
        return [Row("W3", "s", FORK), Row("W6", "tok/s", COMPLETE), Row("W9", "s", dying)]

    def measure(answer: dict[str, Any]) -> tuple[float, int]:
        return 2.0, len(answer["texts"])

    cells = serve.run_all([batched], draw, 3, {"fake": lambda answer: 1.0}, measure)
    serve.report([batched], cells, ["fake"])
    printed = capsys.readouterr().out
    assert "| W3 | s | 2.00 (2.00 .. 2.00) | - | 1.00 | 50% |" in printed
    assert "| W6 | tok/s | 1.00 (1.00 .. 1.00) | - | 2.00 | 50% |" in printed
    assert "| W9 | s | - | - | - | - |" in printed
    assert "W9: ValueError: not today" in printed
    assert "dtype bfloat16" in printed


def test_better_is_faster_or_more() -> None:
    from serve_table import Cell, Run, better

    def cell(unit: str, seconds: float) -> Cell:
        return Cell(unit, [Run(seconds, 60, {}, [])])

    assert better(cell("s", 2), [cell("s", 4), cell("s", 6)]) == 2
    assert better(cell("tok/s", 2), [cell("tok/s", 1), cell("tok/s", 6)]) == 0.5
    assert better(cell("s", 2), [Cell("s", refused="no")]) is None


def test_texts_have_the_lengths_they_are_said_to_have() -> None:
    from serve_workloads import rows

    made = {row.name: row.data for row in rows(0, count_words)}
    again = {row.name: row.data for row in rows(0, count_words)}
    other = {row.name: row.data for row in rows(1, count_words)}
    assert made == again
    assert all(made[name] != other[name] for name in made)

    prompts = [request["prompt"] for request in made["W6"]["requests"]]
    assert len(prompts) == len(set(prompts)) == 64
    assert {count_words(prompt) for prompt in prompts} == {128}
    extract = [request["prompt"] for request in made["W1"]["requests"]]
    prefix = extract[0].partition("\n\nDocument: ")[0]
    assert len(extract) == 32
    assert all(prompt.startswith(prefix.split("\n\nDocument")[0]) for prompt in extract)
    questions = made["W2"]["questions"]
    assert len(questions) == 32
    assert all(len(set(question["options"])) == 4 for question in questions)
    assert len(made["W4"]["programs"]) == 8
    assert {len(texts) for texts in made["W4"]["programs"]} == {5}
    assert len(made["W3"]["contexts"]) == 8


def test_gbnf_and_regex_say_the_same() -> None:
    """The regex is matched by what a walk through the GBNF rule's literals writes."""
    from serve_workloads import rows

    gen = next(r for r in rows(0, count_words) if r.name == "B4").data["requests"][0]["gen"]
    text = ""
    for literal, choice, form in re.findall(
        r'"((?:[^"\\]|\\.)*)"|\(("[^)]*")\)|(\[[^\]]*\]\{1,\d+\})', gen["gbnf"]
    ):
        text += literal.encode().decode("unicode_escape") if literal else ""
        text += choice.split('"')[1] if choice else ""
        text += "7" if form else ""
    assert re.fullmatch(gen["regex"], text)


def test_choosing_rows() -> None:
    from serve_workloads import chosen, rows

    made = rows(0, count_words, is_small=True)
    assert [row.name for row in chosen(made, ["W2", "W6"])] == ["W2", "W2-constrained", "W6"]
    assert [row.name for row in chosen(made, ["W5-plain"])] == ["W5-plain"]
    assert {row.name[0] for row in chosen(made, ["B"])} == {"B"}
    with pytest.raises(ValueError, match="W99"):
        chosen(made, ["W99"])


def test_the_floor_counts_what_is_shared_once() -> None:
    from serve_floor import Machine, ModelCost, trie_size

    assert trie_size([[1, 2, 3], [1, 2, 4], [1, 2, 3]]) == (4, 5)
    cost = ModelCost(layers=10, head=5, attention=0, weight_bytes=2)
    machine = Machine(flops=100.0, bandwidth=10.0)
    # 3 tokens read; one drawn in 1 step of 30 bytes
    assert cost.floor_s(machine, [[1, 2, 3], [1, 2, 4]], sampled=1, steps=1) == 0.6 + 3.0
    # 4 drawn side by side: 2 * 15 * 4 operations beat 30 bytes at a fast memory
    fast = Machine(flops=100.0, bandwidth=1000.0)
    assert cost.floor_s(fast, [[1, 2, 3], [1, 2, 4]], sampled=4, steps=1) == 1.2


@pytest.mark.slow
def test_our_programs_do_the_same_work() -> None:
    from serve_ours import Sestina

    free = {"max_tokens": 3, "ignore_eos": True}
    form = {"max_tokens": 9, "regex": "[ab]{5}"}
    cases: list[tuple[dict[str, Any], int, int]] = [
        ({"kind": "complete", "requests": [{"prompt": "ab", "gen": free}] * 2}, 2, 3),
        ({"kind": "complete", "requests": [{"prompt": "ab", "gen": form}]}, 1, 5),
        ({**TURNS, "gen": free}, 4, 6),
        ({**FORK, "gen": free, "merge_gen": free}, 6, 6),
        ({**TREE, "gen": free}, 6, 6),
    ]
    peer = Sestina({"model": "tiny-random", "dtype": "float32"})
    with peer.engine:
        for data, num_texts, steps in cases:
            answer = peer.run(data)
            assert len(answer["texts"]) == num_texts
            assert answer["steps"] == steps
            assert answer["counters"]["sampled"] >= steps
        question = {"text": "x", "options": ["one", "two"]}
        answer = peer.run({"kind": "select", "prefix": "p", "questions": [question]})
        assert answer["texts"][0] in question["options"]
        assert answer["sequences"] == ["pxone", "pxtwo"]
        constrained = {"max_tokens": 9, "choices": ["one", "two"]}
        data = {"kind": "complete", "requests": [{"prompt": "x", "gen": constrained}]}
        assert peer.run(data)["texts"][0] in question["options"]
