"""INPUT arguments: which files, which documents, and what is wrong with the bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sestina.cli import inputs
from sestina.cli.inputs import BadInput, Document
from sestina.cli.report import UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: in/{a,b}.txt, in/.hidden, in/deep/c.txt."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", ".hidden", "deep/c.txt"):
        (tmp_path / "in" / name).write_text(f"text of {name}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*paths: Path, limit_chars: int = 100, text_field: str = "text") -> list[object]:
    return list(inputs.read(paths, text_field=text_field, limit_chars=limit_chars))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["in/a.txt"], ["in/a.txt"]),
        (["in"], ["in/a.txt", "in/b.txt"]),
        (["in/*.txt"], ["in/a.txt", "in/b.txt"]),
        (["in/**/*.txt"], ["in/a.txt", "in/b.txt", "in/deep/c.txt"]),
        (["in/b.txt", "in", "in/?.txt"], ["in/b.txt", "in/a.txt"]),
    ],
)
def test_expand(folder: Path, arguments: list[str], expected: list[str]) -> None:
    assert [p.as_posix() for p in inputs.expand(arguments)] == expected


def test_a_file_whose_name_looks_like_a_pattern_is_taken_literally(folder: Path) -> None:
    Path("in/x[1].txt").write_text("x")
    assert inputs.expand(["in/x[1].txt"]) == [Path("in/x[1].txt")]


@pytest.mark.parametrize("argument", ["missing.txt", "in/*.pdf", "in/deep/none"])
def test_an_argument_that_names_nothing_is_refused(folder: Path, argument: str) -> None:
    with pytest.raises(UsageError, match="no "):
        inputs.expand([argument])


def test_text_files(folder: Path) -> None:
    Path("bom.txt").write_bytes(b"\xef\xbb\xbfwith a mark")
    Path("latin.txt").write_bytes(b"caf\xe9")
    Path("empty.txt").write_text(" \n")
    Path("long.txt").write_text("x" * 101)
    names = ("in/a.txt", "bom.txt", "latin.txt", "empty.txt", "long.txt", "gone.txt")
    assert read(*map(Path, names)) == [
        Document("in/a.txt", "in/a.txt", "text of a.txt"),
        Document("bom.txt", "bom.txt", "with a mark"),
        BadInput("latin.txt", "latin.txt", "not UTF-8: unexpected end of data at byte 3"),
        BadInput("empty.txt", "empty.txt", "the text is empty"),
        BadInput("long.txt", "long.txt", "the text has 101 characters, --limit-chars is 100"),
        BadInput("gone.txt", "gone.txt", "cannot be read: No such file or directory"),
    ]


JSONL = [
    (b'{"text": "one"}', Document("m.jsonl:1", "m.jsonl:1", "one")),
    (b'{"id": "k", "text": "two"}', Document("k", "m.jsonl:2", "two")),
    (b'{"id": 7, "text": "three", "other": []}', Document(7, "m.jsonl:3", "three")),
    (b"{oops}", "not JSON"),
    (b"[1]", "not a JSON object but list"),
    (b'{"id": 8, "body": "x"}', "no text in field 'text'"),
    (b'{"id": 9, "text": 5}', "no text in field 'text'"),
    (b'{"id": 1.5, "text": "x"}', '"id" must be a string or an integer'),
    (b'{"id": true, "text": "x"}', '"id" must be a string or an integer'),
    (b'{"id": "k", "text": "again"}', "duplicate id 'k'"),
    (b'{"id": 10, "text": "\\ud800"}', "lone surrogate"),
    (b'{"id": 11, "text": "caf\xe9"}', "not UTF-8"),
    (b"[" * 100_000, "not JSON"),
]


def test_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.jsonl").write_bytes(b"\n".join(line for line, _ in JSONL) + b"\n\n")
    found = read(Path("m.jsonl"))
    assert inputs.count([Path("m.jsonl")]) == len(found) == len(JSONL)
    for number, (item, (_, expected)) in enumerate(zip(found, JSONL, strict=True), start=1):
        if isinstance(expected, Document):
            assert item == expected
        else:
            assert isinstance(item, BadInput)
            assert expected in item.reason
            assert item.source == f"m.jsonl:{number}"


def test_text_field(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"id": "a", "text": "no", "body": "yes"}))
    assert read(path, text_field="body") == [Document("a", f"{path.as_posix()}:1", "yes")]
