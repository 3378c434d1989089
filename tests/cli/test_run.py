"""`sestina run` on a mock backend: finding the program, binding arguments, showing results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sestina.cli import main, run
from sestina.cli.report import UsageError
from sestina.lang.clients.mock import MockBackend


@pytest.fixture
def run_(mock: Any, run_command: Any, programs: Path) -> Callable[..., int]:
    """`sestina run programs.py:NAME ARGS`."""

    def run_program(name: str, *args: str) -> int:
        code: int = run_command(run.execute, ["run", f"{programs}:{name}", *args], mock)
        return code

    return run_program


Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--arg name=Ada", "'Ada' 1 False: <greeting>"),
        ("--arg name=12 --arg times=3 --arg loud=true", "'12' 3 True: <greeting>"),
        ("--arg name=a=b --stream", "'a=b' 1 False: <greeting>"),
    ],
)
def test_arguments_are_read_as_annotated(
    run_: Callable[..., int], capsys: Printed, arguments: str, text: str
) -> None:
    assert run_("greet", *arguments.split()) == 0
    assert capsys.readouterr().out == f"{text}\n"


def test_an_argument_without_annotation_is_text(run_: Callable[..., int], capsys: Printed) -> None:
    assert run_("chat", "--arg", "text=17") == 0
    assert "user\n17" in capsys.readouterr().out


def test_typed_arguments_and_values(run_: Callable[..., int], mock: Any, capsys: Printed) -> None:
    mock.backend = MockBackend({"person": '{"name": "Bob", "age": 4}'})
    assert run_("typed", "--arg", 'person={"name": "Ada", "age": 36}', "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"person": {"name": "Bob", "age": 4}}


def test_an_argument_from_a_file(run_: Callable[..., int], capsys: Printed, tmp_path: Path) -> None:
    (tmp_path / "name.txt").write_text("Grace")
    assert run_("greet", "--arg-file", f"name={tmp_path / 'name.txt'}") == 0
    assert capsys.readouterr().out.startswith("'Grace'")


def test_async_programs(run_: Callable[..., int], capsys: Printed) -> None:
    assert run_("greet_async", "--arg", "name=Ada") == 0
    assert capsys.readouterr().out == "Ada: <greeting>\n"


def test_options_reach_the_engine(run_: Callable[..., int], mock: Any) -> None:
    options = "--arg name=Ada --model tiny --seed 5 --max-tokens 7 --temperature 0.25"
    assert run_("greet", *options.split()) == 0
    assert mock.opened == [("tiny", 5)]
    session = mock.backend.sessions[0].options
    assert session.seed == 5
    assert (session.defaults.max_tokens, session.defaults.temperature) == (7, 0.25)


def test_a_failing_gen_is_told_with_its_line(
    run_: Callable[..., int], mock: Any, capsys: Printed
) -> None:
    mock.backend = MockBackend({})
    assert run_("greet", "--arg", "name=Ada") == 1
    told = capsys.readouterr().err
    assert "no response for 'greeting'" in told
    assert "programs.py:" in told


@pytest.mark.parametrize(
    ("name", "line", "error"),
    [
        ("broken", 'raise ValueError("the body is broken")', "ValueError: the body is broken"),
        ("misspelt", "s += gen(", "InvalidParams: unknown parameter 'max_tokns'"),
        ("unclosed", "s += gen(", "InvalidConstraint: invalid regex: missing )"),
        ("unknown", 's += s["y"]', "KeyError: \"no variable 'y' in this program"),
    ],
)
def test_an_error_of_the_users_own_code_shows_its_lines_and_not_ours(
    run_: Callable[..., int], capsys: Printed, name: str, line: str, error: str
) -> None:
    assert run_(name) == 1
    told = capsys.readouterr().err
    assert line in told
    assert error in told
    assert "interpreter" not in told
    assert "program.py" not in told


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("missing", "", "has no 'missing'; it defines: .*greet"),
        ("plain", "", "a plain function, not a program: decorate it with @function"),
        ("Person", "", "not a program"),
        ("not a name", "", "expected FILE.py:NAME"),
        ("greet", "", "greet needs --arg name=VALUE"),
        (
            "greet",
            "--arg name=A --arg nam=B",
            "no argument 'nam'; its arguments: name, times, loud",
        ),
        ("greet", "--arg name=A --arg name=B", "given twice"),
        ("greet", "--arg name", "expected NAME=VALUE"),
        ("greet", "--arg name=A --arg times=many", "--arg times: 'many' is not JSON for int"),
        ("greet", "--arg name=A --arg times=1.5", "--arg times"),
        ("greet", "--arg-file name=/nowhere/x", "cannot read"),
    ],
)
def test_usage_errors(
    run_: Callable[..., int], mock: Any, name: str, arguments: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_(name, *arguments.split())
    assert not mock.opened


def test_main_reports_a_missing_file(capsys: Printed, tmp_path: Path) -> None:
    assert main(["run", f"{tmp_path / 'none.py'}:f"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_file_that_fails_to_import_shows_its_own_lines(programs: Path, capsys: Printed) -> None:
    assert main(["run", f"{programs.with_name('broken_file.py')}:f"]) == 2
    printed = capsys.readouterr().err
    assert "broken_file.py cannot be loaded" in printed
    assert "RuntimeError: this file cannot be imported" in printed
    assert "sestina/cli" not in printed


def test_a_file_that_is_not_python(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "bad.py").write_text("def (")
    assert main(["run", f"{tmp_path / 'bad.py'}:f"]) == 2
    assert "line 1\n    def (" in capsys.readouterr().err
