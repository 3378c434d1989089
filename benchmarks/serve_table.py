"""What serve.py measured, as tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Run:
    """One engine's run of one row.

    seconds: by the clock of the table. num_tokens: of all generated texts, in the model's own
    tokens. floor_s: what this work costs at the least, None for peers (see serve_floor.py).
    """

    seconds: float
    num_tokens: int
    counters: Mapping[str, int]
    texts: Sequence[str]
    floor_s: float | None = None

    def value(self, unit: str, seconds: float | None = None) -> float:
        """In the row's unit; of another time, if one is given."""
        taken = self.seconds if seconds is None else seconds
        if unit == "tok/s":
            return self.num_tokens / taken
        return taken * (1000 if unit == "ms" else 1)


@dataclass
class Cell:
    """What one engine did in one row: its runs, or why there is none."""

    unit: str
    runs: list[Run] = field(default_factory=list)
    refused: str | None = None

    @property
    def median(self) -> float | None:
        return statistics.median(run.value(self.unit) for run in self.runs) if self.runs else None

    @property
    def floor(self) -> float | None:
        """In the row's unit."""
        floors = [run.value(self.unit, run.floor_s) for run in self.runs if run.floor_s]
        return statistics.median(floors) if floors else None

    @property
    def share(self) -> float | None:
        shares = [run.floor_s / run.seconds for run in self.runs if run.floor_s]
        return statistics.median(shares) if shares else None

    def __str__(self) -> str:
        if self.median is None:
            return "-"
        values = [run.value(self.unit) for run in self.runs]
        spread = f" ({_short(min(values))} .. {_short(max(values))})" if len(values) > 1 else ""
        return f"{_short(self.median)}{spread}"

    def to_data(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "refused": self.refused,
            "median": self.median,
            "floor": self.floor,
            "share of floor": self.share,
            "values": [run.value(self.unit) for run in self.runs],
            "counters": [dict(run.counters) for run in self.runs],
        }


Cells = Mapping[str, Mapping[str, Cell]]
"""By row, then by engine."""


def better(cell: Cell, peers: Sequence[Cell]) -> float | None:
    """How many times better than the best of `peers`; below 1 is worse."""
    medians = [peer.median for peer in peers if peer.median is not None]
    if cell.median is None or not medians:
        return None
    if cell.unit == "tok/s":
        return cell.median / max(medians)
    return min(medians) / cell.median


def speeds(cells: Cells, ours: Sequence[str], peers: Sequence[str]) -> str:
    """A line per row: each engine's median and range; ours against the best peer and the floor."""
    head = ["", "unit", *ours, *peers]
    for label in ours:
        head += [f"{label}: x best peer", "floor", "share"]
    lines = []
    for name, row in cells.items():
        line = [name, row[ours[0]].unit, *(str(row[label]) for label in [*ours, *peers])]
        for label in ours:
            cell = row[label]
            ratio = better(cell, [row[peer] for peer in peers])
            share = "-" if cell.share is None else f"{cell.share:.0%}"
            line += ["-" if ratio is None else f"{ratio:.2f}", _short(cell.floor), share]
        lines.append(line)
    return table(head, lines)


def counts(cells: Cells) -> str:
    """A line per row and engine: the counters of a median run, and what became of the texts."""
    names = list(
        dict.fromkeys(
            name for row in cells.values() for cell in row.values() for run in cell.runs
            for name in run.counters
        )
    )  # fmt: skip
    lines = []
    for name, row in cells.items():
        for label, cell in row.items():
            if not cell.runs:
                continue
            medians = [_median([run.counters.get(key) for run in cell.runs]) for key in names]
            tokens = _median([run.num_tokens for run in cell.runs])
            lines.append([name, label, *medians, tokens, whole(cell)])
    return table(["", "engine", *names, "tokens of text", "whole JSON"], lines)


def whole(cell: Cell) -> str:
    """How many of the texts that look like JSON are; what was cut off is not."""
    texts = [text for run in cell.runs for text in run.texts if text.lstrip().startswith("{")]
    return f"{sum(map(_is_json, texts))}/{len(texts)}" if texts else "-"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---"] * len(head))
    rows = [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(line)} |" for line in lines)]
    return "\n".join(rows)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _median(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median_low(known):,}" if known else "-"


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
