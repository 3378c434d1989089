"""Ops: what a program asks of a runtime. Frozen data, safe to accept from a network.

A branch executes its ops in order. `Text` parts may refer to variables of the branch, so that a
program need not come back to Python for a value it only pastes. Every submitted op is answered
(`sestina.lang.session`), also when an earlier one failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sestina.lang.constraint import Constraint
from sestina.lang.errors import InvalidParams
from sestina.lang.params import SamplingParams

ChoicesMethod = Literal[
    "token_length_normalized", "greedy_token_selection", "unconditional_likelihood_normalized"
]
JoinMode = Literal["gather_variable", "concate_and_append"]


@dataclass(frozen=True, slots=True)
class Var:
    """The text of a variable of the branch, when the op that mentions it is reached."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """Append constant text and variables. Never parsed for control tokens."""

    parts: tuple[str | Var, ...]


@dataclass(frozen=True, slots=True)
class Ids:
    """Append token ids as they are."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gen:
    """Let the model continue; the result is variable `name` (None: kept in the text only)."""

    name: str | None
    params: SamplingParams = field(default_factory=SamplingParams)
    constraint: Constraint | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """Append the option the model finds most likely; the result is variable `name`."""

    name: str | None
    choices: tuple[str, ...]
    method: ChoicesMethod = "token_length_normalized"


@dataclass(frozen=True, slots=True)
class RoleBegin:
    """Open a turn of the conversation with the model's own chat template."""

    role: str

    def __post_init__(self) -> None:
        if not isinstance(self.role, str) or not self.role:
            raise InvalidParams(f"a role must be a non-empty string, got {self.role!r}")


@dataclass(frozen=True, slots=True)
class RoleEnd:
    """Close the open turn."""

    role: str


@dataclass(frozen=True, slots=True)
class Fork:
    """Start child branches that share everything so far (tokens, KV cache, variables)."""

    children: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """Wait for child branches.

    gather_variable: each variable the children set becomes a list in the parent, aligned with
    `children` (None where a child did not set it). concate_and_append: their texts since the fork
    are appended in order. A failed child fails the join with its cause.
    """

    children: tuple[str, ...]
    mode: JoinMode = "gather_variable"


@dataclass(frozen=True, slots=True)
class CaptureBegin:
    """From here to the matching CaptureEnd, the text becomes variable `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class CaptureEnd:
    name: str


@dataclass(frozen=True, slots=True)
class SetVar:
    """Give variable `name` a text."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Release:
    """No more ops will come on this branch."""


Op = (
    Text
    | Ids
    | Gen
    | Select
    | RoleBegin
    | RoleEnd
    | Fork
    | Join
    | CaptureBegin
    | CaptureEnd
    | SetVar
    | Release
)
