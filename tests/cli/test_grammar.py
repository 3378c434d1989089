"""`sestina grammar explain`: what is shown of a constraint, and why a text is rejected."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sestina.cli import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Printed = pytest.CaptureFixture[str]

TABLE = tomllib.loads((Path(__file__).parents[1] / "data/explanations.toml").read_text("utf-8"))


@pytest.fixture
def schema(tmp_path: Path) -> str:
    path = tmp_path / "schema.json"
    path.write_text(TABLE["schema"], encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("case", TABLE["case"], ids=lambda case: case["text"])
def test_where_a_text_is_rejected_and_why(
    case: dict[str, Any], schema: str, capsys: Printed
) -> None:
    code = main(["grammar", "explain", schema, "--text", case["text"]])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert code == ("at" in case)
    if "at" not in case:
        assert "accepted, and nothing may follow" in lines
        return
    assert f"^ character {case['at']}" in lines
    assert [says for says in case["says"] if says not in lines] == []


def test_what_a_schema_demands(schema: str, capsys: Printed) -> None:
    assert main(["grammar", "explain", schema]) == 0
    out = capsys.readouterr().out
    assert "  /properties/name: type, maxLength\n" in out
    assert "annotations:\n" in out
    assert 'must begin with: {"name":\n' in out


def test_a_refused_schema_names_its_place(tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "schema.json"
    path.write_text('{"properties": {"a": {"minimum": "1"}}}')
    assert main(["grammar", "explain", str(path)]) == 2
    err = capsys.readouterr().err
    assert "'/properties/a'" in err
    assert "keyword 'minimum'" in err


def test_a_regex_with_its_states(capsys: Printed) -> None:
    argv = ["grammar", "explain", "--regex", "[a-c]+(é|€)?", "--text", "abé€"]
    assert main([*argv, "--table", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == ["rejected at character 3 ('€'):", "  abé€", "     ^ character 3"]
    assert "expected next: the end" in lines
    assert "1 state, 1 more that they lead to are not shown" in lines


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a+", "a", "accepted, and may go on with: a or the end"),
        ("[ a-c!]x", "", "expected next: space or ! or a to c"),
        (".x", "", "expected next: \\x00 to \\t or \\x0b to \\x7f or any character beyond ASCII"),
        ("(é|à)x", "", "expected next: characters beyond ASCII (that begin with the bytes \\xc3)"),
    ],
)
def test_what_may_come_next(pattern: str, text: str, expected: str, capsys: Printed) -> None:
    main(["grammar", "explain", "--regex", pattern, "--text", text])
    assert expected in capsys.readouterr().out.splitlines()


def test_the_line_of_a_long_text(tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "text"
    path.write_text("a" * 30 + "\n" + "a" * 300 + "b\naa")
    assert main(["grammar", "explain", "--regex", "[a\\n]*", "--text-file", str(path)]) == 1
    _, _, shown, caret, *_ = capsys.readouterr().out.splitlines()
    assert shown[caret.index("^")] == "b"
    assert caret.endswith("^ character 331, line 2")
    assert len(shown) < 110


def test_a_graph_is_all_that_is_printed(capsys: Printed) -> None:
    assert main(["grammar", "explain", "--regex", "ab", "--dot", "9"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("digraph")
    assert out.endswith("}\n")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "one of SCHEMA.json, --regex and --grammar"),
        (["nowhere.json"], "cannot read nowhere.json"),
        (["nowhere.json", "--regex", "a"], "one of SCHEMA.json"),
        (["--regex", "(a"], "^"),
        (["--regex", "a", "--text", "\udcff"], "not UTF-8"),
    ],
)
def test_usage(argv: list[str], says: str, capsys: Printed) -> None:
    assert main(["grammar", "explain", *argv]) == 2
    assert says in capsys.readouterr().err
