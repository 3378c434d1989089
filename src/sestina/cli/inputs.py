"""What `sestina extract` reads: text files, globs, folders and JSON Lines."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sestina.cli.report import UsageError


@dataclass(frozen=True, slots=True)
class Document:
    """One text to extract from.

    id: the "id" of a JSONL object (a string or an integer), else where the text stands.
    source: the path as given; "path:line" in JSON Lines.
    """

    id: str | int
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class BadInput:
    """An input without a usable text, and why."""

    id: str | int
    source: str
    reason: str


def expand(arguments: Iterable[str]) -> list[Path]:
    """The files that INPUT arguments name, each once, in a stable order.

    A folder stands for the visible files in it, a pattern with *, ? or [] for what it matches (**
    goes down folders). UsageError when an argument names nothing. A file that exists but cannot be
    read is the reader's business: the run goes on without it.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        found.update(dict.fromkeys(_expand_one(argument)))
    return list(found)


def _expand_one(argument: str) -> list[Path]:
    if argument == "-":
        raise UsageError("standard input is not read: name a file, a folder or a pattern")
    path = Path(argument)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        if not files:
            raise UsageError(f"no files in folder {argument}")
        return files
    if path.exists() or not glob.has_magic(argument):
        if not path.exists():
            raise UsageError(f"no such file: {argument}")
        return [path]
    matches = sorted(p for p in map(Path, glob.glob(argument, recursive=True)) if p.is_file())
    if not matches:
        raise UsageError(f"no file matches {argument!r}")
    return matches


def count(paths: Iterable[Path]) -> int:
    """How many documents `read` will yield, for the progress bar; an unreadable file counts one."""
    total = 0
    for path in paths:
        if not _is_jsonl(path):
            total += 1
            continue
        try:
            with path.open("rb") as lines:
                total += sum(1 for line in lines if line.strip())
        except OSError:
            total += 1
    return total


def read(
    paths: Iterable[Path], *, text_field: str, limit_chars: int
) -> Iterator[Document | BadInput]:
    """Every document of the files in order, lazily; what cannot be read becomes a BadInput.

    `.jsonl` files hold one JSON object a line with the text in `text_field`; every other file is
    one document of UTF-8 text. An id that was seen before is a BadInput: records are told apart
    by it.
    """
    seen: set[str | int] = set()
    for path in paths:
        items = _read_jsonl(path, text_field) if _is_jsonl(path) else _read_text(path)
        for item in items:
            if item.id in seen:
                item = BadInput(item.id, item.source, f"duplicate id {item.id!r}")
            seen.add(item.id)
            yield _checked(item, limit_chars) if isinstance(item, Document) else item


def _is_jsonl(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".ndjson")


def _checked(document: Document, limit_chars: int) -> Document | BadInput:
    reason = None
    if not document.text.strip():
        reason = "the text is empty"
    elif len(document.text) > limit_chars:
        reason = f"the text has {len(document.text):,} characters, --limit-chars is {limit_chars:,}"
    elif any("\ud800" <= c <= "\udfff" for c in document.text):
        reason = "the text has a lone surrogate (half of a UTF-16 pair)"
    return document if reason is None else BadInput(document.id, document.source, reason)


def _read_text(path: Path) -> Iterator[Document | BadInput]:
    name = path.as_posix()
    try:
        # utf-8-sig: a byte order mark is not part of the text.
        yield Document(name, name, path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        yield BadInput(name, name, _reason(error))


def _read_jsonl(path: Path, text_field: str) -> Iterator[Document | BadInput]:
    name = path.as_posix()
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse_line(f"{name}:{number}", line, text_field)
    except OSError as error:
        yield BadInput(name, name, _reason(error))


def _parse_line(source: str, line: bytes, text_field: str) -> Document | BadInput:
    try:
        data = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return BadInput(source, source, _reason(error))
    except (ValueError, RecursionError) as error:
        return BadInput(source, source, f"not JSON: {error}")
    if not isinstance(data, dict):
        return BadInput(source, source, f"not a JSON object but {type(data).__name__}")
    id = data.get("id", source)
    if isinstance(id, bool) or not isinstance(id, str | int):
        return BadInput(source, source, f'"id" must be a string or an integer, got {id!r}')
    text = data.get(text_field)
    if not isinstance(text, str):
        return BadInput(id, source, f"no text in field {text_field!r}")
    return Document(id, source, text)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: {error.reason} at byte {error.start}"
    return f"cannot be read: {error.strerror or error}"
