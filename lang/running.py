"""What is running: a program's run, and which backend a program uses when none is named."""

from __future__ import annotations

import asyncio
import hashlib
from contextvars import ContextVar
from dataclasses import dataclass, field

from sestina.lang.session import Backend


@dataclass(slots=True)
class Running:
    """One run of a program: its settings, and how far its body has come.

    `is_background`: the body runs in a thread or task of its own while others read (stream=True);
    `task` is that task.
    """

    name: str
    backend: Backend
    seed: int | None = None
    stream: bool = False
    is_background: bool = False
    is_finished: bool = False
    exception: BaseException | None = None
    task: asyncio.Task[None] | None = None
    num_subprograms: int = field(default=0)

    def is_followed(self) -> bool:
        """Whether the caller reads along while the body may still append.

        The body itself (and what it calls) must not wait for the body's end.
        """
        followed = self.is_background and not self.is_finished
        return followed and current_run.get() is not self

    def next_subprogram_seed(self) -> int | None:
        """The seed of the next program this body runs, so that one seed settles the whole tree."""
        self.num_subprograms += 1
        return None if self.seed is None else derived_seed(self.seed, self.num_subprograms - 1)


def derived_seed(seed: int, index: int) -> int:
    """The seed of member `index` of a family: distinct, and the same on every machine."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class _DefaultBackend:
    """Holds the process-wide default. A ContextVar would not reach threads of the user."""

    def __init__(self) -> None:
        self.backend: Backend | None = None


# The one mutable setting of the package, for the familiar `set_default_backend`; every run may
# name its backend instead.
_default = _DefaultBackend()

current_run: ContextVar[Running | None] = ContextVar("sestina_current_run", default=None)
"""The run whose body is being executed here; programs it calls use the same backend."""


def set_default_backend(backend: Backend | None) -> None:
    """Use `backend` for every program run without one, in all threads. None takes it back."""
    _default.backend = None if backend is None else _checked(backend)


def get_default_backend() -> Backend | None:
    """What `set_default_backend` set."""
    return _default.backend


def backend_or_default(backend: Backend | None) -> Backend:
    """The named backend, else that of the running program, else the default.

    ValueError if there is none, TypeError if it is not one.
    """
    run = current_run.get()
    inherited = run.backend if run is not None else _default.backend
    chosen = backend if backend is not None else inherited
    if chosen is None:
        raise ValueError(
            "no backend: pass backend=Engine(...) or call set_default_backend(Engine(...)) first"
        )
    return _checked(chosen)


def _checked(backend: Backend) -> Backend:
    if not callable(getattr(backend, "open", None)):
        raise TypeError(
            f"not a backend: {type(backend).__name__}; give an Engine, or anything with open()"
        )
    return backend


def flush_cache(backend: Backend | None = None) -> None:
    """Forget cached prefixes of the backend (default: the default one); TypeError if it cannot."""
    chosen = backend_or_default(backend)
    flush = getattr(chosen, "flush_cache", None)
    if flush is None:
        raise TypeError(f"{type(chosen).__name__} has no cache to flush")
    flush()
