"""How a command gets its backend; tests pass another factory."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sestina.lang.session import Backend

DEFAULT_MODEL = "smollm2-135m-instruct"

MODEL_HELP = (
    f"an alias, a Hugging Face folder or hub name, or a .gguf file (default: {DEFAULT_MODEL})"
)


class BackendFactory(Protocol):
    """Opens a model by name; leaving the `with` closes it."""

    def __call__(self, model: str, *, seed: int | None) -> AbstractContextManager[Backend]: ...


def open_engine(model: str, *, seed: int | None) -> AbstractContextManager[Backend]:
    """An Engine in this process. Imports torch, which takes a second or two."""
    from sestina.backend.engine import Engine

    return Engine(model, seed=seed)
