"""How much one constraint may cost; passing a bound is an error of that constraint alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

from sestina.backend.grammar.core import memory
from sestina.lang.errors import ConstraintLimitExceeded, InvalidParams


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on compiling and walking one grammar. All are counts but the ones in bytes.

    max_nodes: nodes of the grammar's IR that no earlier grammar shared.
    max_nesting: height of the IR's tallest tree.
    max_depth: how deep rules and expressions are nested before a byte is read.
    max_expressions: expressions made by derivatives, about 100 bytes each.
    max_states: states met while walking; those walked as an automaton take 1 KiB each.
    max_liveness_steps: derivatives taken by one search for a text that `And` and `Not` leave over.
    max_work: parts of expressions looked at for one step, mask or grammar, about 50 ns each.
    max_mask_cache_bytes: cached masks, and as much again for their parts; the least recently used
        go first, so this one never raises.
    max_shared_bytes: what grammars share in a `GrammarCompiler`; beyond it, a new one begins to
        share afresh, and this one never raises either.
    max_forced_bytes: bytes looked ahead for one forced run; longer runs come in several parts.

    >>> Limits(max_states=0)
    Traceback (most recent call last):
    ...
    sestina.lang.errors.InvalidParams: max_states must be at least 1, not 0
    """

    max_nodes: int = 400_000
    max_nesting: int = 1_000
    max_depth: int = 1_500
    max_expressions: int = 500_000
    max_states: int = 100_000
    max_liveness_steps: int = 100_000
    max_work: int = 10_000_000
    max_mask_cache_bytes: int = 64 << 20
    max_shared_bytes: int = 256 << 20
    max_forced_bytes: int = 1024

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 1:
                got = getattr(self, each.name)
                raise InvalidParams(f"{each.name} must be at least 1, not {got}")

    def exceeded(self, name: str) -> ConstraintLimitExceeded:
        """The error for passing the bound `name`; the caller raises it."""
        return ConstraintLimitExceeded(
            f"the constraint passed the limit {name}={getattr(self, name)}", keyword=name
        )


class Budget:
    """What one grammar has used up of its limits. Not thread-safe: its machine locks around it.

    spent: its account, see `core.memory`; the machine has the newest one while this budget pays.
    """

    __slots__ = ("limits", "spent")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        account = {
            memory.STATES: 1,  # the dead one
            memory.MAX_EXPRESSIONS: limits.max_expressions,
            memory.MAX_STATES: limits.max_states,
            memory.MAX_LIVENESS_STEPS: limits.max_liveness_steps,
            memory.MAX_DEPTH: limits.max_depth,
            memory.MAX_WORK: limits.max_work,
        }
        words = range(memory.SPENT, memory.SPENT + memory.NUM_SPENT)
        self.spent = np.array([account.get(k, 0) for k in words], np.int64)

    def error(self, status: int) -> ConstraintLimitExceeded:
        """What the core's status says was passed."""
        return self.limits.exceeded(_LIMIT_OF_STATUS[status])


_LIMIT_OF_STATUS = MappingProxyType(
    {
        memory.LIMIT_EXPRESSIONS: "max_expressions",
        memory.LIMIT_STATES: "max_states",
        memory.LIMIT_LIVENESS: "max_liveness_steps",
        memory.LIMIT_DEPTH: "max_depth",
        memory.LIMIT_WORK: "max_work",
    }
)
