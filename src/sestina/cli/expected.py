"""What may come next in an automaton, in words, and the place in a text that is talked about."""

from __future__ import annotations

from collections.abc import Iterator

from sestina.backend.grammar.table import Walkable, byte_set, followers, ranges, readable

WIDTH = 100
_ASCII = (1 << 128) - 1
_LEADS = ((1 << 0xF5) - 1) & ~((1 << 0xC2) - 1)  # the first bytes of longer characters


def expected(automaton: Walkable, state: int) -> str:
    """The characters (as far as a first byte tells) that may follow, and whether the text may end.

    Cost: 256 steps.
    """
    mask = 0
    for some in followers(automaton, state).values():
        mask |= some
    parts = list(_ascii(mask & _ASCII))
    beyond = mask & ~_ASCII
    if beyond == _LEADS:
        parts.append("any character beyond ASCII")
    elif beyond & ~_LEADS:
        parts.append(f"the rest of a character (bytes {byte_set(beyond)})")
    elif beyond:
        parts.append(f"characters beyond ASCII (that begin with the bytes {byte_set(beyond)})")
    if automaton.is_accepting(state):
        parts.append("the end")
    return " or ".join(parts) or "nothing"


def forced(automaton: Walkable, state: int, limit: int) -> str:
    """The text that must follow as far as there is no choice, if it is longer than a character."""
    out = bytearray()
    while len(out) < limit and not automaton.is_accepting(state):
        targets = followers(automaton, state)
        if len(targets) != 1:
            break
        ((state, mask),) = targets.items()
        if mask & (mask - 1):
            break
        out.append(mask.bit_length() - 1)
    text = out.decode("utf-8", "ignore")  # a character may be cut
    return text if len(text) > 1 else ""


def excerpt(text: str, position: int) -> list[str]:
    """The line with that character, cut to the screen, and a caret under it."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start : end if end >= 0 else len(text)]
    column = position - start
    shift = max(0, column - WIDTH * 3 // 5)
    shown = "".join(char if char.isprintable() else " " for char in line[shift : shift + WIDTH])
    where = f", line {text.count(chr(10), 0, position) + 1}" if "\n" in text else ""
    return [f"  {shown}", f"  {' ' * (column - shift)}^ character {position}{where}"]


def _ascii(mask: int) -> Iterator[str]:
    for lo, hi in ranges(mask):
        if hi - lo < 2:
            yield from (_named(byte) for byte in range(lo, hi + 1))
        else:
            yield f"{_named(lo)} to {_named(hi)}"


def _named(byte: int) -> str:
    return "space" if byte == 0x20 else readable(byte)
