"""EngineOptions: the one definition of how an engine is set up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, TypedDict

from sestina.backend.scheduler.policy import POLICIES, PolicyName
from sestina.lang.errors import InvalidParams

DEFAULT_GUESSES = 8


class EngineSettings(TypedDict, total=False):
    """The keyword arguments of `Engine` and `AsyncEngine`: EngineOptions for type checkers.

    A type checker cannot read a dataclass as keyword arguments, so the names and types stand here
    once more; tests/backend/test_options.py holds the two equal.
    """

    dtype: str
    device: str
    max_total_tokens: int | None
    max_running: int
    max_batch_tokens: int
    max_unread: int
    policy: PolicyName
    speculation: str | int
    threads: int | None
    seed: int | None
    check: bool | None
    trace: int


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Data only: it crosses to the worker's process as it is. InvalidParams when out of range.

    dtype: "auto" (bfloat16 where the CPU computes in it, else float32), "float32", "bfloat16", or
        "int8" on a CPU: weights quantised at load, the fastest where one program runs alone.
    device: "auto", "cpu" or "cuda".
    max_total_tokens: size of the KV pool in tokens, all programs together.
    max_running / max_batch_tokens: sequences in the batch, and tokens of one forward pass.
    max_unread: a program whose reader is this many events behind waits for it, and holds up
        nobody else meanwhile. At least 16.
    policy: who goes first when more wait than fit: "program" (whoever was served least, then what
        is cached), "prefix" (what is cached) or "fcfs"; nobody waits for ever under any of them.
    speculation: guesses of the next tokens that are checked in one pass: "auto", "off", or at most
        so many. They change no result (see `sestina.backend.scheduler.drafting`).
    threads: torch's CPU threads; process-wide, as torch has it (None leaves it alone).
    seed: root of the seeds of programs that bring none, in the order they start; None: random.
    check: audit the KV books after every step (None: if SESTINA_DEBUG=1), instead of their totals
        when idle.
    trace: how many of the latest steps, batches and ops `engine.trace()` keeps; 0 records nothing.
    """

    dtype: str = "auto"
    device: str = "auto"
    max_total_tokens: int | None = None
    max_running: int = 64
    max_batch_tokens: int = 512
    max_unread: int = 1024
    policy: PolicyName = "program"
    speculation: str | int = "auto"
    threads: int | None = None
    seed: int | None = None
    check: bool | None = None
    trace: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in ("max_total_tokens", "threads"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidParams(f"{name} must be an integer of at least {least}, got {value!r}")
        if self.policy not in POLICIES:
            raise InvalidParams(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        said = self.speculation
        if said not in ("auto", "off") and (type(said) is not int or said < 0):
            raise InvalidParams(
                f"speculation must be 'auto', 'off' or a number of guesses, got {said!r}"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> EngineOptions:
        """From keyword arguments; an unknown name is refused with the known ones listed."""
        known = [f.name for f in fields(cls)]
        for name in settings:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise InvalidParams(
                    f"unknown engine option {name!r}; {hint}known: {', '.join(known)}"
                )
        return cls(**settings)

    @property
    def max_guesses(self) -> int:
        if isinstance(self.speculation, int):
            return self.speculation
        return 0 if self.speculation == "off" else DEFAULT_GUESSES

    @property
    def checks_every_step(self) -> bool:
        if self.check is None:
            return os.environ.get("SESTINA_DEBUG", "") not in ("", "0")
        return self.check


_LEAST: Mapping[str, int] = {
    "max_total_tokens": 1,
    "max_running": 1,
    "max_batch_tokens": 1,
    "max_unread": 16,
    "threads": 1,
    "trace": 0,
}
