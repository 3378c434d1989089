"""A process that answers lines of JSON with lines of JSON."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import Any, TextIO

START_SECONDS = 600  # loading the libraries and the model


class ProcessLost(Exception):
    """The process has ended or is to be ended."""


class LineProcess:
    """A running command; its first line, which it prints when it is ready, is `hello`.

    What it writes to standard error is kept for `last_words`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: TextIO = self._process.stdin  # type: ignore[assignment]
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(
            target=_read, args=(self._process.stdout, self._answers), daemon=True
        ).start()
        try:
            self.hello: dict[str, Any] = self.answer(START_SECONDS)
        except ProcessLost as lost:
            words = self.last_words()
            self.close()
            raise ProcessLost(f"{lost}; {words}") from None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, request: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has ended, which its answer tells
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()

    def answer(self, seconds: float) -> Any:
        """The next line it prints; ProcessLost if none comes in that time."""
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise ProcessLost(f"no answer in {seconds:g} s") from None
        if line is None:
            raise ProcessLost(f"exit status {self._process.wait()}")
        return json.loads(line)

    def last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip()[-500:]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # a request it did not read
            self._requests.close()
        self._errors.close()


def _read(lines: Any, answers: queue.Queue[str | None]) -> None:
    """Pass lines on as they come, then None."""
    with lines:
        for line in lines:
            answers.put(line)
    answers.put(None)
