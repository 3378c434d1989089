"""What an Engine delegates to: the model at work in this process, or in one of its own."""

from __future__ import annotations

from typing import Protocol

from sestina.backend.stats import EngineStats
from sestina.backend.trace import Trace
from sestina.lang.session import Backend, Session, SessionOptions


class Runtime(Protocol):
    """A model that runs programs. Any thread may call; EngineClosed once it has ended."""

    def open(self, holder: Backend, options: SessionOptions, seed: int) -> Session:
        """Start a program. `holder` is kept from ending while the session is held."""

    def stats(self) -> EngineStats:
        """A consistent snapshot, taken between two steps."""

    def flush_cache(self) -> int:
        """Drop every cached prefix that nobody uses; how many tokens that freed."""

    def cache_text(self) -> str:
        """The radix tree, one line a node, with the text of its edges."""

    def cache_data(self) -> dict[str, object]:
        """The radix tree as data for JSON."""

    def trace(self) -> Trace:
        """The latest spans; none where nothing is recorded."""

    def stop(self) -> None:
        """Begin to end, soon. Takes no lock: finalizers may call it."""

    def close(self) -> None:
        """Cancel what runs, answer everything, free the model. Idempotent."""
