"""What the commands print and how they end: exit codes, tables, sizes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


class UsageError(Exception):
    """The command line asks for something that cannot be; printed without a traceback, exit 2."""


def positive(text: str) -> int:
    """The argparse type of a number that is at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Left-aligned columns; numbers are right-aligned.

    >>> print(table(["name", "tokens"], [["a.txt", 12], ["long.txt", 7]]))
    name      tokens
    a.txt         12
    long.txt       7
    """
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(header))
    ]

    def render(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join(render(cells) for cells in (list(header), *lines))


def size(num_bytes: float) -> str:
    """A number of bytes for people, in powers of 1000.

    >>> size(98_500_000), size(512)
    ('98.5 MB', '512 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
