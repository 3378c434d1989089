r"""An automaton for people: as a table, and as a graph for Graphviz.

        state  on    goes to
    >   1      a     2              the automaton of a[bc]
        2      [bc]  3
     *  3
    3 states

States are numbered as the automaton numbers them; `>` is the start, `*` accepts. A state's bytes
are grouped by where they lead, dead ends left out, and written as in a regex over bytes, except
that only `.`, `[` and `\` are escaped outside of brackets. A lazy automaton may never be whole, so
states are listed breadth-first up to a bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sestina.lang.errors import ConstraintLimitExceeded

NUM_BYTES = 256
DEAD = 0
_ALL = (1 << NUM_BYTES) - 1
_ESCAPES = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
_SPECIAL_IN_SET = b"[]^-\\"


class Walkable(Protocol):
    """What is needed of an automaton over bytes; state 0 is dead."""

    @property
    def start(self) -> int: ...

    def step(self, state: int, byte: int) -> int:
        """The state after a byte."""

    def is_accepting(self, state: int) -> bool:
        """Whether the text may end."""


@dataclass(frozen=True, slots=True)
class Row:
    """A state and what leads out of it: masks of bytes by target, in the order of first bytes."""

    state: int
    is_accepting: bool
    targets: dict[int, int]


@dataclass(frozen=True, slots=True)
class Expansion:
    """Rows of the states nearest to the start.

    num_pending: states they lead to that have no row. limit: the message of the limit that
    stopped the expansion, if one did.
    """

    rows: list[Row]
    num_pending: int
    limit: str | None


def expand(automaton: Walkable, max_states: int) -> Expansion:
    """Breadth-first from the start. Cost: 256 steps a state, which a lazy automaton may charge."""
    queue = deque([automaton.start])
    found = {automaton.start}
    rows: list[Row] = []
    while queue and len(rows) < max_states:
        state = queue.popleft()
        try:
            targets = followers(automaton, state)
        except ConstraintLimitExceeded as error:
            return Expansion(rows, len(queue) + 1, error.reason)
        rows.append(Row(state, automaton.is_accepting(state), targets))
        new = [target for target in targets if target not in found]
        found.update(new)
        queue.extend(new)
    return Expansion(rows, len(queue), None)


def followers(automaton: Walkable, state: int) -> dict[int, int]:
    """Masks of the bytes that lead to each state but the dead one."""
    targets: dict[int, int] = {}
    for byte in range(NUM_BYTES):
        target = automaton.step(state, byte)
        if target != DEAD:
            targets[target] = targets.get(target, 0) | 1 << byte
    return targets


def table(automaton: Walkable, *, max_states: int = 40) -> str:
    """The automaton's first states as a table; a last line tells what is left out."""
    expansion = expand(automaton, max_states)
    lines = [("", "state", "on", "goes to")]
    for row in expansion.rows:
        marks = (">" if row.state == automaton.start else " ") + ("*" if row.is_accepting else " ")
        edges = [(byte_set(mask), str(target)) for target, mask in row.targets.items()]
        for i, (on, target) in enumerate(edges or [("", "")]):
            lines.append((marks if i == 0 else "", str(row.state) if i == 0 else "", on, target))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join([*padded, _ending(expansion)])


def dot(automaton: Walkable, *, max_states: int = 40) -> str:
    """The same as a graph in the DOT language of Graphviz; states without a row are dashed."""
    expansion = expand(automaton, max_states)
    known = {row.state for row in expansion.rows}
    lines = ["digraph automaton {", "  rankdir=LR;", "  node [shape=circle];"]
    lines += ["  start [shape=point];", f"  start -> {automaton.start};"]
    lines += [f"  {row.state} [shape=doublecircle];" for row in expansion.rows if row.is_accepting]
    pending = {target: None for row in expansion.rows for target in row.targets} | {
        automaton.start: None
    }
    lines += [f"  {state} [style=dashed];" for state in pending if state not in known]
    lines += [
        f"  {row.state} -> {target} [label={_quoted(byte_set(mask))}];"
        for row in expansion.rows
        for target, mask in row.targets.items()
    ]
    return "\n".join([*lines, "}"])


def byte_set(mask: int) -> str:
    r"""A set of bytes (bit b for byte b, at least one) in the notation of the tables.

    >>> print(byte_set(1 << 97), byte_set(0b111 << 97), byte_set((1 << 256) - 1))
    a [a-c] .
    >>> print(byte_set((1 << 256) - 1 & ~(1 << 34)), byte_set(0b1010 << 91), byte_set(1 << 0xC3))
    [^"] [\\\^] \xc3
    """
    if mask == _ALL:
        return "."
    if not mask & (mask - 1):
        byte = mask.bit_length() - 1
        return f"\\{chr(byte)}" if byte in b".[\\" else readable(byte)
    parts, negated = list(ranges(mask)), list(ranges(_ALL & ~mask))
    # Fewer ranges are easier to read, and no empty brackets.
    if negated and len(negated) < len(parts):
        return f"[^{_inside(negated)}]"
    return f"[{_inside(parts)}]"


def ranges(mask: int) -> Iterator[tuple[int, int]]:
    """The runs of bytes in a mask, first and last of each."""
    lo = None
    for byte in range(NUM_BYTES + 1):
        is_in = byte < NUM_BYTES and mask >> byte & 1
        if is_in and lo is None:
            lo = byte
        elif not is_in and lo is not None:
            yield lo, byte - 1
            lo = None


def readable(byte: int) -> str:
    """A byte as one prints it: the character, or an escape. A space is written \\x20."""
    if byte in _ESCAPES:
        return _ESCAPES[byte]
    return chr(byte) if 0x20 < byte < 0x7F else f"\\x{byte:02x}"


def _inside(parts: Iterable[tuple[int, int]]) -> str:
    out = []
    for lo, hi in parts:
        if hi - lo < 2:
            out += [_escaped(byte) for byte in range(lo, hi + 1)]
        else:
            out.append(f"{_escaped(lo)}-{_escaped(hi)}")
    return "".join(out)


def _escaped(byte: int) -> str:
    return f"\\{chr(byte)}" if byte in _SPECIAL_IN_SET else readable(byte)


def _quoted(text: str) -> str:
    """A string of the DOT language, whose one escape is the quote; its labels read \\ as one."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _ending(expansion: Expansion) -> str:
    count = len(expansion.rows)
    told = f"{count} state{'' if count == 1 else 's'}"
    if expansion.num_pending:
        told += f", {expansion.num_pending} more that they lead to are not shown"
    return f"{told}: {expansion.limit}" if expansion.limit else told
