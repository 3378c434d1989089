"""What mask.py counted and timed, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """One schema on one engine; times in milliseconds and microseconds.

    lost: what ended the engine's process, if anything did. is_copy: an equal schema came before,
    so that its times are left out: engines cache. accept_us has 0 where no token was accepted.
    """

    name: str
    verdict: str
    why: str
    keyword: str | None
    lost: str | None
    is_copy: bool
    compile_ms: float | None
    mask_us: Values
    accept_us: Values

    @classmethod
    def of(cls, name: str, is_copy: bool, answer: dict[str, Any]) -> Outcome:
        compile_ns = answer.get("compile_ns")
        return cls(
            name=name,
            verdict=answer["verdict"],
            why=answer.get("why", ""),
            keyword=answer.get("keyword"),
            lost=answer.get("lost"),
            is_copy=is_copy,
            compile_ms=None if compile_ns is None else compile_ns / 1e6,
            mask_us=np.asarray(answer["mask_ns"], np.float64) / 1e3,
            accept_us=np.asarray(answer["accept_ns"], np.float64) / 1e3,
        )

    @property
    def first_ms(self) -> float | None:
        """From the schema to its first mask."""
        if self.compile_ms is None or not len(self.mask_us):
            return None
        return float(self.compile_ms + self.mask_us[0] / 1e3)

    def to_data(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": self.verdict,
            "why": self.why,
            "keyword": self.keyword,
            "lost": self.lost,
            "is_copy": self.is_copy,
            "compile_ms": self.compile_ms,
            "first_mask_ms": self.first_ms,
            "masks": len(self.mask_us),
            "mask_us_sum": float(self.mask_us.sum()),
            "mask_us_max": float(self.mask_us.max(initial=0)),
            "accept_us_sum": float(self.accept_us.sum()),
        }


def _figures(points: Sequence[float | None]) -> Callable[[Values], str]:
    """The mean (None) and percentiles of some values, with slashes."""

    def show(values: Values) -> str:
        if not len(values):
            return "-"
        found = [np.mean(values) if p is None else np.percentile(values, p) for p in points]
        return " / ".join(_short(float(value)) for value in found)

    return show


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


_AVG_50_99_999 = _figures([None, 50, 99, 99.9])
_50_AVG_99 = _figures([50, None, 99])


def _joined(parts: Iterable[Values]) -> Values:
    return np.concatenate([np.zeros(0), *parts])


def _compile_ms(outcomes: Sequence[Outcome]) -> Values:
    return np.array([o.compile_ms for o in outcomes if o.compile_ms is not None])


def _first_ms(outcomes: Sequence[Outcome]) -> Values:
    return np.array([o.first_ms for o in outcomes if o.first_ms is not None])


def _accepts(outcomes: Sequence[Outcome]) -> Values:
    return _joined(o.accept_us[o.accept_us > 0] for o in outcomes)


def _both(outcomes: Sequence[Outcome]) -> Values:
    return _joined((o.mask_us + o.accept_us)[o.accept_us > 0] for o in outcomes)


def _whole_ms(outcomes: Sequence[Outcome]) -> Values:
    """All the work a schema made: compiling, masks and accepts of all instances."""
    return np.array(
        [
            o.compile_ms + (o.mask_us.sum() + o.accept_us.sum()) / 1e3
            for o in outcomes
            if o.compile_ms is not None
        ]
    )


TIMES: dict[str, Callable[[Sequence[Outcome]], str]] = {
    "mask us avg / p50 / p99 / p99.9": lambda o: _AVG_50_99_999(_joined(x.mask_us for x in o)),
    "compile ms p50 / avg / p99": lambda o: _50_AVG_99(_compile_ms(o)),
    "compile + first mask ms p50 / avg / p99": lambda o: _50_AVG_99(_first_ms(o)),
    "accept us avg / p50 / p99 / p99.9": lambda o: _AVG_50_99_999(_accepts(o)),
    "mask + accept us avg / p50 / p99 / p99.9": lambda o: _AVG_50_99_999(_both(o)),
    "all work ms a schema": lambda o: _figures([None])(_whole_ms(o)),
}
COVERAGE = ("passed", "refused", "valid rejected", "invalid accepted", "failed")


def coverage(outcomes: Sequence[Outcome]) -> list[str]:
    """The cells of COVERAGE; engines' processes that were lost are told in brackets."""
    counted = Counter(o.verdict for o in outcomes)
    lost = Counter(o.verdict for o in outcomes if o.lost)
    return [
        f"{counted[verdict]} ({lost[verdict]} lost)" if lost[verdict] else f"{counted[verdict]}"
        for verdict in COVERAGE
    ]


def times(outcomes: Sequence[Outcome]) -> list[str]:
    """The cells of TIMES."""
    timed = [o for o in outcomes if not o.is_copy]
    return [show(timed) for show in TIMES.values()]


def summary(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The table's row of an engine by column."""
    return dict(zip((*COVERAGE, *TIMES), (*coverage(outcomes), *times(outcomes)), strict=True))


def tables(rows: dict[str, list[Outcome]]) -> str:
    """By engine: coverage and times over all schemas, and times over those that others pass, too.

    rows: each engine's outcomes over the same schemas in the same order; the first engine is
    compared with each other one, over what both pass.
    """
    first, *others = rows
    total = len(rows[first])
    parts = [
        _markdown(["engine", *COVERAGE], [[k, *coverage(found)] for k, found in rows.items()]),
        f"Times over all {total} schemas, as far as each engine took them:",
        _markdown(["engine", *TIMES], [[k, *times(found)] for k, found in rows.items()]),
    ]
    if others:
        common = _passed_by_all(rows)
        parts += [
            f"Times over the {len(common[first])} schemas that every engine passes:",
            _markdown(["engine", *TIMES], [[k, *times(found)] for k, found in common.items()]),
        ]
    if len(others) > 1:
        pairs = [_passed_by_all({k: rows[k] for k in (first, other)}) for other in others]
        lines = [[f"{len(found)}", k, *times(found)] for pair in pairs for k, found in pair.items()]
        parts += [
            f"Times over the schemas that {first} and another engine both pass:",
            _markdown(["schemas", "engine", *TIMES], lines),
        ]
    return "\n\n".join(parts)


def _passed_by_all(rows: dict[str, list[Outcome]]) -> dict[str, list[Outcome]]:
    """The outcomes of the schemas that every engine passes."""
    columns = [
        column
        for column in zip(*rows.values(), strict=True)
        if all(outcome.verdict == "passed" for outcome in column)
    ]
    return {label: [column[i] for column in columns] for i, label in enumerate(rows)}


def refusals(outcomes: Sequence[Outcome], limit: int = 20) -> str:
    """How many schemas were refused, by keyword."""
    counted = Counter(o.keyword or o.why.partition(":")[0] for o in outcomes if _refused(o))
    return ", ".join(f"{name} {count}" for name, count in counted.most_common(limit)) or "none"


def _refused(outcome: Outcome) -> bool:
    return outcome.verdict == "refused"


def failures(outcomes: Sequence[Outcome], limit: int) -> list[str]:
    """A line for the first schemas of each verdict but "passed"."""
    lines = []
    for verdict in COVERAGE[1:]:
        found = [o for o in outcomes if o.verdict == verdict][:limit]
        lines += [f"{verdict}: {o.name}  {_first_line(o.lost or o.why)}".rstrip() for o in found]
    return lines


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:200]


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
