"""OUT.jsonl: resuming, repairing a cut line, refusing foreign files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.cli.output import Output, errors_path
from sestina.cli.report import UsageError

IDS = st.one_of(st.integers(), st.text(st.characters(codec="utf-8"), max_size=8))


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_records_and_errors_are_lines(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.jsonl"
    with Output(out) as output:
        output.write_record("a", "a.txt", '{"price": 1.10, "big": 1e999}')
        assert out.read_bytes().endswith(b"}}\n")  # flushed at once
        output.write_error(7, "b.txt", "no\nreason")
    # The model's own spelling of numbers is kept: 1.10 stays 1.10.
    assert out.read_text() == (
        '{"id": "a", "source": "a.txt", "record": {"price": 1.10, "big": 1e999}}\n'
    )
    assert lines(errors_path(out)) == [{"id": 7, "source": "b.txt", "error": "no\nreason"}]


def test_errors_file_begins_anew_each_run(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Output(out) as output:
        output.write_error("a", "a", "bad")
    with Output(out):
        pass
    assert not errors_path(out).exists()


@pytest.mark.parametrize(
    ("out", "errors"), [("o.jsonl", "o.errors.jsonl"), ("o.json", "o.json.errors.jsonl")]
)
def test_errors_path(out: str, errors: str) -> None:
    assert errors_path(Path("d") / out) == Path("d") / errors


@settings(deadline=None, max_examples=60)
@given(ids=st.lists(IDS, min_size=1, max_size=5, unique=True), data=st.data())
def test_a_file_cut_anywhere_is_repaired(
    ids: list[str | int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whole records before the cut are kept, nothing else is; the rest can be appended again."""
    out = tmp_path_factory.mktemp("cut") / "out.jsonl"
    ends = []
    with Output(out) as output:
        for id in ids:
            output.write_record(id, "s", '{"x": "ü"}')
            ends.append(out.stat().st_size)
    whole = out.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    out.write_bytes(whole[:cut])
    # A record that lacks only its newline is whole.
    kept = [id for id, end in zip(ids, ends, strict=True) if end - 1 <= cut]
    with Output(out) as output:
        assert output.done == set(kept)
        for id in ids:
            if id not in output.done:
                output.write_record(id, "s", '{"x": "ü"}')
    assert out.read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [
        *("hello\n", '{"id": 1}\n', '{"record": {}}\n', '{"id": true, "record": 1}\n', "[]\n"),
        *("my only notes, without a newline", '{"id": 1}', '{"x": 1', "1"),
    ],
)
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    out = tmp_path / "notes.jsonl"
    out.write_text(content)
    with pytest.raises(UsageError, match="line 1 is not a record"):
        Output(out)
    assert out.read_text() == content


@pytest.mark.parametrize("out", ["-", "/dev/null", "/dev", "/dev/full"])
def test_what_is_no_file_is_refused(out: str) -> None:
    if out != "-" and not Path(out).exists():
        pytest.skip(f"there is no {out} here")
    with pytest.raises(UsageError, match="must be a file"):
        Output(Path(out))


def test_two_runs_cannot_share_an_output(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="files are not locked on this system")
    with Output(tmp_path / "out.jsonl"), pytest.raises(UsageError, match="another run"):
        Output(tmp_path / "out.jsonl")
    Output(tmp_path / "out.jsonl").__exit__(None, None, None)  # free again
