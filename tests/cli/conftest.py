"""Fakes for the command line: mock backends, and a runner that gives exit code and output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from sestina.cli import make_parser
from sestina.cli.opening import BackendFactory
from sestina.lang.clients.mock import MockBackend
from sestina.lang.session import Backend

DATA = Path(__file__).parent.parent / "data" / "cli"


class Opened(NamedTuple):
    """One call of the factory."""

    model: str
    seed: int | None


class FakeFactory:
    """Opens `backend` and remembers how it was asked to."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.opened: list[Opened] = []
        self.num_closed = 0

    def __call__(self, model: str, *, seed: int | None) -> AbstractContextManager[Backend]:
        @contextmanager
        def open_() -> Iterator[Backend]:
            self.opened.append(Opened(model, seed))
            try:
                yield self.backend
            finally:
                self.num_closed += 1

        return open_()


Execute = Callable[..., int]


@pytest.fixture
def programs() -> Path:
    return DATA / "programs.py"


@pytest.fixture
def run_command() -> Callable[[Execute, list[str], BackendFactory], int]:
    """Parse a command line and run its command on a fake backend."""

    def run(execute: Execute, argv: list[str], factory: BackendFactory) -> int:
        return execute(make_parser().parse_args(argv), factory)

    return run


@pytest.fixture
def mock() -> FakeFactory:
    return FakeFactory(MockBackend())
