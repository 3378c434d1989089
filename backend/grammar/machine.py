"""The lazy machine under all automata of one vocabulary: it owns what the core works on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from sestina.backend.grammar.alphabet import Alphabet
from sestina.backend.grammar.core import calls, dense, dispatch, memory
from sestina.backend.grammar.known import KnownNodes
from sestina.backend.grammar.limits import Budget, Limits
from sestina.backend.grammar.recursion import Recursion

DEAD = memory.EMPTY
"""The state from which nothing can be accepted. Exact: every other state can reach acceptance."""

NUM_BYTES = memory.NUM_BYTES

_FIRST_NODES = 1 << 13
_FIRST_ROWS = 64

Result = TypeVar("Result")


class Machine:
    """Expressions over one alphabet, shared by every grammar built into it; thread-safe.

    A state is a live expression; equal states are the same integer, for ever, whichever grammar
    they come from. So what two grammars have in common (a string's body, any JSON value) is worked
    out once.

    mem: see `sestina.backend.grammar.core.memory`; table: `core.dense`. Both are replaced when they
        grow, so take them, and use them, under `lock`.
    special_ids[k] is the control token behind symbol NUM_BYTES + k.
    known: the expressions of IR nodes met before.
    literals: where long ones are in the pool.

    Whoever makes it work says who pays: new expressions and states count against that budget, and
    passing it is an error that leaves what there is as it was.
    """

    def __init__(self, alphabet: Alphabet, num_nodes: int = _FIRST_NODES) -> None:
        self.lock = threading.RLock()
        self.alphabet = alphabet
        self.missing_bytes = frozenset(b for b in range(256) if not alphabet.byte_mask >> b & 1)
        words = np.frombuffer(alphabet.byte_mask.to_bytes(32, "little"), np.int64)
        self.mem = memory.new_memory(num_nodes, words)
        dispatch.install(self.mem)
        self.table = dense.new_table(_FIRST_ROWS)
        self.special_ids: list[int] = []
        self.known = KnownNodes()
        self.literals: dict[bytes, int] = {}
        self.recursion = Recursion(self)
        self._payer = Budget(Limits())
        self._account()[:] = self._payer.spent
        calls.begin(self.mem)

    def memory_bytes(self) -> int:
        """About what is in use."""
        used = memory
        return (
            120 * self.mem.item(used.NUM_NODES)
            + 8 * self.mem.item(used.POOL_LEN)
            + 48 * self.mem.item(used.NUM_MEMO)
            + 4 * dense.ROW_LEN * self.mem.item(used.NUM_DENSE)
            + 300 * len(self.known)
        )

    def special_symbol(self, token_id: int) -> int:
        """The symbol of a control token."""
        if token_id not in self.special_ids:
            self.special_ids.append(token_id)
        return NUM_BYTES + self.special_ids.index(token_id)

    # ---- all below: call under `lock`

    def let_pay(self, budget: Budget) -> None:
        """Count against this budget from now on."""
        account = self._account()
        self._payer.spent[:] = account
        account[:] = budget.spent
        self._payer = budget

    def _account(self) -> memory.Words:
        return self.mem[memory.SPENT : memory.SPENT + memory.NUM_SPENT]

    def run(self, budget: Budget, function: Callable[..., Result], *args: Any) -> Result:
        """function(mem, *args), again with more room for as long as it asks for it.

        Raises ConstraintLimitExceeded if the budget is used up.
        """
        if budget is not self._payer:
            self.let_pay(budget)
        self.mem[memory.WORK] = 0
        while True:
            result = function(self.mem, *args)
            status = self.mem.item(memory.STATUS)
            if status == memory.OK:
                return result
            self.recover(status, budget)

    def recover(self, status: int, budget: Budget) -> None:
        """Make room for what had none, or raise what was passed; then the core is ready again."""
        self.clear_status()
        if status >= memory.LIMIT_EXPRESSIONS:
            raise budget.error(status)
        if status == memory.ASK_LIVENESS:
            e = self.mem.item(memory.ASKED)
            is_alive = self.recursion.matches_something(budget, e)
            calls.mark_liveness(self.mem, e, is_alive)
            return
        if status == memory.TABLE_FULL:
            grown = dense.new_table(2 * len(self.table))
            grown[: len(self.table)] = self.table
            self.table = grown
        elif status != memory.COMPONENTS_FULL:  # those are the mask cache's
            self.mem = memory.enlarged(self.mem, status)

    def clear_status(self) -> None:
        """Make the core ready again after it has broken off."""
        mem = self.mem
        mem[memory.STATUS], mem[memory.DEPTH] = memory.OK, 0
        mem[memory.TOP] = mem[memory.STACK]

    def step(self, budget: Budget, state: int, symbol: int) -> int:
        """The state after one symbol."""
        return self.run(budget, calls.step_one, state, symbol)

    def advance(self, budget: Budget, state: int, data: bytes) -> int:
        """The state after some bytes."""
        return self.run(budget, calls.advance, state, np.frombuffer(data, np.uint8))

    def flags(self, state: int) -> int:
        """See `core.memory`: NULLABLE, HAS_SPECIAL, ..."""
        return calls.flags_of(self.mem, state)

    def is_accepting(self, state: int) -> bool:
        return bool(self.flags(state) & memory.NULLABLE)

    def specials(self, budget: Budget, state: int) -> list[int]:
        """Which k there are such that control token special_ids[k] may come next."""
        if not self.flags(state) & memory.HAS_SPECIAL:
            return []
        after = (
            self.run(budget, calls.remainder, state, NUM_BYTES + k)
            for k in range(len(self.special_ids))
        )
        return [k for k, left in enumerate(after) if left != DEAD]

    def only_symbol(self, budget: Budget, state: int) -> int | None:
        """The one symbol that can follow, None for none or a choice."""
        specials = self.specials(budget, state)
        if len(specials) > 1:
            return None
        byte = self.run(budget, calls.next_symbol, state)
        if specials:
            return NUM_BYTES + specials[0] if byte == -1 else None
        return byte if byte >= 0 else None

    def is_complete(self, budget: Budget, state: int) -> bool:
        """The state accepts, and nothing can follow."""
        if state == memory.EPSILON:
            return True
        if not self.is_accepting(state) or self.specials(budget, state):
            return False
        return self.run(budget, calls.next_symbol, state) == -1
