"""The output of `sestina extract`: JSON Lines that a stopped run can take up again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from sestina.cli.report import UsageError

_HEAD = b'{"id": '  # how every line begins


def errors_path(out: Path) -> Path:
    """Where the failures of a run go: OUT.errors.jsonl beside OUT.jsonl."""
    stem = out.name[: -len(".jsonl")] if out.name.endswith(".jsonl") else out.name
    return out.with_name(f"{stem}.errors.jsonl")


class Output:
    """OUT.jsonl, appended to, and OUT.errors.jsonl, begun anew: failures are tried again each run.

    Opening reads the ids already in OUT (`done`) and repairs its last line: a record cut off by a
    crash is removed, a whole one that lacks its newline gets it. Any other line that is not such a
    record raises UsageError, because OUT is then not ours to append to, as does what is not a
    plain file. Every record is flushed
    and each write is one whole line. On POSIX the file is locked: two runs cannot share an OUT.
    """

    def __init__(self, out: Path) -> None:
        if str(out) == "-" or (out.exists() and not out.is_file()):
            raise UsageError(f"the output must be a file, which {out} is not")
        out.parent.mkdir(parents=True, exist_ok=True)
        self._records: BinaryIO = out.open("a+b")
        self._errors: BinaryIO | None = None
        self._errors_path = errors_path(out)
        try:
            _lock(self._records, out)
            self.done = _repair(self._records, out)
            self._errors_path.unlink(missing_ok=True)
        except BaseException:
            self._records.close()
            raise
        self.num_written = 0
        self.num_errors = 0

    def write_record(self, id: str | int, source: str, record: str) -> None:
        """Append one result; `record` is JSON text without line breaks, kept as it was written."""
        head = json.dumps({"id": id, "source": source})
        _append(self._records, f'{head[:-1]}, "record": {record}}}')
        self.done.add(id)
        self.num_written += 1

    def write_error(self, id: str | int, source: str, reason: str) -> None:
        """Append one failure to OUT.errors.jsonl, which exists only if there is one."""
        if self._errors is None:
            self._errors = self._errors_path.open("wb")
        _append(self._errors, json.dumps({"id": id, "source": source, "error": reason}))
        self.num_errors += 1

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._records.close()
        if self._errors is not None:
            self._errors.close()


def _append(file: BinaryIO, line: str) -> None:
    file.write(line.encode("utf-8") + b"\n")
    file.flush()


def _lock(file: BinaryIO, path: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"{path} is being written by another run") from None


def _repair(file: BinaryIO, path: Path) -> set[str | int]:
    """The ids of all records; leaves the file ending after a whole line. Reads it once."""
    ids: set[str | int] = set()
    end = 0
    file.seek(0)
    for number, line in enumerate(file, start=1):
        id = _record_id(line)
        if id is None and _is_cut_off(line):
            break
        if id is None:
            raise UsageError(
                f"{path}, line {number} is not a record of `sestina extract`; "
                "name another output or move this file away"
            )
        if not line.endswith(b"\n"):
            file.write(b"\n")  # append mode: goes to the end, where this line stops
            file.flush()
            end += 1
        end += len(line)
        ids.add(id)
    file.truncate(end)
    return ids


def _is_cut_off(line: bytes) -> bool:
    """Whether this is the beginning of a line of ours, and nothing else that is whole."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return not line.endswith(b"\n") and _HEAD.startswith(line[: len(_HEAD)])
    return False


def _record_id(line: bytes) -> str | int | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or "record" not in data:
        return None
    id = data.get("id")
    return id if isinstance(id, str | int) and not isinstance(id, bool) else None
