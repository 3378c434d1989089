"""`sestina extract` on a mock backend."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sestina.cli import extract, main
from sestina.cli.report import UsageError
from sestina.lang.clients.mock import MockBackend, MockCall, MockSession
from sestina.lang.errors import CapacityError, EngineClosed
from sestina.lang.ir import Text
from sestina.lang.session import Done, Event, SessionOptions

SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'


def answer(call: MockCall) -> str:
    """The document's number as the record; words in the document ask for trouble."""
    document = call.text.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]
    if "too long" in document:
        raise CapacityError("needs 9,000 tokens, there is room for 8,192")
    if "closed" in document:
        raise EngineClosed("the engine is closed")
    if "cut off" in document:
        return '{"n": 1'
    return json.dumps({"n": int(document.split()[1])})


class CuttingSession(MockSession):
    """Reports what does not end in } as cut off by max_tokens, as an engine would."""

    async def aevents(self) -> AsyncIterator[Event]:
        async for event in super().aevents():
            if isinstance(event, Done) and event.name and not str(event.value).endswith("}"):
                meta = tuple(replace(m, finish_reason="length") for m in event.meta)
                event = replace(event, meta=meta)
            yield event


class CuttingBackend(MockBackend):
    def open(self, options: SessionOptions) -> MockSession:
        session = CuttingSession(self, options)
        self.sessions.append(session)
        return session


@pytest.fixture
def mock(mock: Any) -> Any:
    mock.backend = CuttingBackend(answer)
    return mock


@pytest.fixture
def extract_(
    mock: Any, run_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """`sestina extract --schema s.json ARGS -o out.jsonl` in a folder with texts 0.txt to 4.txt."""
    monkeypatch.chdir(tmp_path)
    Path("s.json").write_text(SCHEMA)
    for i in range(5):
        Path(f"{i}.txt").write_text(f"document {i}")

    def run(*args: str, schema: str = "s.json", out: str = "out.jsonl") -> int:
        argv = ["extract", "--schema", schema, *args, "-o", out]
        code: int = run_command(extract.execute, argv, mock)
        return code

    return run


def rows(name: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def reasons() -> dict[str, str]:
    return {row["id"]: row["error"] for row in rows("out.errors.jsonl")}


@pytest.mark.parametrize("concurrency", ["1", "2", "16"])
def test_every_document_gets_its_record(
    extract_: Callable[..., int], concurrency: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract_("?.txt", "--concurrency", concurrency) == 0
    assert sorted(rows(), key=lambda row: row["id"]) == [
        {"id": f"{i}.txt", "source": f"{i}.txt", "record": {"n": i}} for i in range(5)
    ]
    assert not Path("out.errors.jsonl").exists()
    assert "records written" in capsys.readouterr().out


def test_options_reach_the_program(extract_: Callable[..., int], mock: Any) -> None:
    options = "--model m.gguf --seed 3 --max-tokens 9 --temperature 0.5 --instructions Attention!"
    assert extract_("0.txt", *options.split()) == 0
    assert mock.opened == [("m.gguf", 3)]
    assert mock.num_closed == 1
    ops = mock.backend.ops(session=0)
    texts = [part for op in ops if hasattr(op, "parts") for part in op.parts]
    assert texts[0].startswith("Attention!\n")
    assert '"properties":{"n":{"type":"integer"}}' in texts[0].replace(" ", "")
    assert texts[1] == "document 0"
    record = next(op for op in ops if getattr(op, "name", None) == "record")
    assert (record.params.max_tokens, record.params.temperature) == (9, 0.5)
    assert "integer" in record.constraint.source


def test_the_schema_can_be_hidden_from_the_model(extract_: Callable[..., int], mock: Any) -> None:
    assert extract_("0.txt", "--instructions", "Attention!", "--hide-schema") == 0
    assert Text(("Attention!",)) in mock.backend.ops(session=0)


def test_bad_documents_are_reported_and_harm_no_other(extract_: Callable[..., int]) -> None:
    Path("1.txt").write_text("document 1 is too long")
    Path("2.txt").write_text("document 2 is cut off")
    Path("3.txt").write_bytes(b"\xff\xff")
    assert extract_("?.txt") == 1
    assert {row["id"] for row in rows()} == {"0.txt", "4.txt"}
    assert set(reasons()) == {"1.txt", "2.txt", "3.txt"}
    assert reasons()["1.txt"] == "CapacityError: needs 9,000 tokens, there is room for 8,192"
    assert reasons()["2.txt"].startswith("truncated")
    assert reasons()["3.txt"].startswith("not UTF-8")


def test_a_second_run_does_only_what_is_left(
    extract_: Callable[..., int], mock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("1.txt").write_text("document 1 is too long")
    assert extract_("?.txt") == 1
    Path("1.txt").write_text("document 1")
    whole = Path("out.jsonl").read_bytes()
    Path("out.jsonl").write_bytes(whole[:-5])  # killed while it wrote the last record
    mock.backend.sessions.clear()
    assert extract_("?.txt") == 0
    assert len(mock.backend.sessions) == 2  # the failed one and the cut one
    assert {row["id"]: row["record"]["n"] for row in rows()} == {f"{i}.txt": i for i in range(5)}
    assert "skipped" in capsys.readouterr().out
    assert extract_("?.txt") == 0
    assert len(mock.opened) == 2  # with nothing left to do, no model is loaded


def test_json_lines_in(extract_: Callable[..., int]) -> None:
    lines = [{"id": i, "body": f"document {i}"} for i in range(20)] + [{"id": 99}]
    Path("mails.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert extract_("mails.jsonl", "--text-field", "body") == 1
    assert {row["id"]: row["record"]["n"] for row in rows()} == {i: i for i in range(20)}
    assert rows()[0]["source"] == "mails.jsonl:1"
    assert reasons() == {99: "no text in field 'body'"}


def test_a_folder_that_holds_the_output(extract_: Callable[..., int]) -> None:
    Path("s.json").rename("schema.py")
    Path("schema.py").write_text(f"SCHEMA = {SCHEMA}")
    Path("in").mkdir()
    Path("0.txt").rename("in/0.txt")
    Path("in/1.txt").write_text("document 1 is too long")
    for _ in range(2):  # the second time, both of our files are in the folder
        assert extract_("in", schema="schema.py:SCHEMA", out="in/out.jsonl") == 1
        assert [row["id"] for row in rows("in/out.jsonl")] == ["in/0.txt"]
        assert [row["id"] for row in rows("in/out.errors.jsonl")] == ["in/1.txt"]


def test_a_type_of_the_user_checks_records(extract_: Callable[..., int]) -> None:
    Path("form.py").write_text(
        "from __future__ import annotations\n"
        "from pydantic import BaseModel, field_validator\n"
        "class Form(BaseModel):\n"
        "    n: int\n"
        "    @field_validator('n')\n"
        "    def small(cls, n: int) -> int:\n"
        "        if n > 2: raise ValueError('too big')\n"
        "        return n\n"
    )
    assert extract_("?.txt", schema="form.py:Form") == 1
    assert {row["record"]["n"] for row in rows()} == {0, 1, 2}
    assert set(reasons()) == {"3.txt", "4.txt"}
    assert "too big" in reasons()["3.txt"]


def test_ctrl_c_leaves_a_file_to_go_on_with(
    extract_: Callable[..., int], mock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(call: MockCall) -> str:
        if len(mock.backend.sessions) == 3:
            raise KeyboardInterrupt
        return answer(call)

    mock.backend = CuttingBackend(interrupt)
    assert extract_("?.txt", "--concurrency", "1") == 130
    assert [row["id"] for row in rows()] == ["0.txt", "1.txt"]
    assert not Path("out.errors.jsonl").exists()
    assert mock.num_closed == 1
    assert "interrupted" in capsys.readouterr().err
    mock.backend = CuttingBackend(answer)
    assert extract_("?.txt") == 0
    assert len(rows()) == 5


def test_an_engine_that_closes_ends_the_run(extract_: Callable[..., int]) -> None:
    Path("1.txt").write_text("document 1 finds the engine closed")
    with pytest.raises(Exception, match="closed") as caught:
        extract_("?.txt", "--concurrency", "1")
    assert isinstance(getattr(caught.value, "cause", caught.value), EngineClosed)
    assert [row["id"] for row in rows()] == ["0.txt"]  # the rest stays to be done


def test_usage_errors_come_before_the_model(extract_: Callable[..., int], mock: Any) -> None:
    Path("bad.json").write_text('{"type": "strin')
    Path("unsupported.json").write_text('{"type": "array", "uniqueItems": true}')
    for schema, message in (
        ("missing.json", "cannot read the schema missing.json"),
        ("bad.json", "^bad.json: not JSON"),
        ("unsupported.json", "^unsupported.json: uniqueItems"),
        ("s.json:X", "not a Python file"),
        ("schema", "takes FILE.json or FILE.py:TYPE, got 'schema'"),
    ):
        with pytest.raises(UsageError, match=message):
            extract_("?.txt", schema=schema)
    with pytest.raises(UsageError, match="standard input"):
        extract_("-")
    Path("loop").symlink_to("loop")
    with pytest.raises(UsageError, match="no such file: loop"):
        extract_("loop")
    with pytest.raises(UsageError, match="no such file"):
        extract_("gone.txt")
    with pytest.raises(UsageError, match="both input and output"):
        extract_("out.jsonl")
    assert not mock.opened
    assert not Path("out.jsonl").exists()


def test_main_turns_usage_errors_into_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["extract", "--schema", str(tmp_path / "no.json"), "x", "-o", str(tmp_path / "o.jsonl")]
    assert main(argv) == 2
    assert "cannot read the schema" in capsys.readouterr().err
