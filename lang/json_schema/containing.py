"""`contains` with its bounds, one or several of them: items counted by what they are valid under.

A state for each position that matters and each count. Where there is no upper bound, an item valid
under `contains` may also be passed over: some run counts enough of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from sestina.lang.errors import UnsupportedConstraint
from sestina.lang.expr import either, is_nothing, seq, times
from sestina.lang.grammar_ir import EPSILON, NOTHING, Expr
from sestina.lang.json_schema.keywords import Schema, count, size
from sestina.lang.json_schema.layout import Layout
from sestina.lang.json_schema.merge import tuple_items
from sestina.lang.json_schema.refs import child

if TYPE_CHECKING:
    from sestina.lang.json_schema.compiler import Compiler

MAX_STATES = 4096
MAX_POSITIONS = 300
MAX_AT_ONCE = 4

Held = tuple[int, ...]
"""How many items were counted for each `contains`, up to what matters."""


class Wanted(NamedTuple):
    """One `contains` with minContains and maxContains."""

    schema: Any
    least: int
    most: int | None

    @property
    def top(self) -> int:
        """Up to where counts differ."""
        return self.least if self.most is None else self.most


class _Choice(NamedTuple):
    """One item, and which `contains` it is counted for."""

    text: Expr
    counted: tuple[bool, ...]


def wanted_in(schema: Schema) -> list[Wanted]:
    """All `contains` of a schema: of several that have met, a tuple of schemas is left."""
    given = schema["contains"]
    parts = given if isinstance(given, tuple) else (schema,)
    return [
        Wanted(
            part["contains"],
            count(part.get("minContains", 1)),
            count(part["maxContains"]) if "maxContains" in part else None,
        )
        for part in parts
    ]


def lower_containing(compiler: Compiler, schema: Schema, pointer: str, layout: Layout) -> Expr:
    """Arrays with enough and not too many items valid under each `contains`."""
    low, high = size(schema, "minItems", "maxItems")
    first, rest = tuple_items(schema)
    wanted = wanted_in(schema)
    last = max(len(first), low, 1) if high is None else high  # from here on all are alike
    num_states = (last + 1) * math.prod(one.top + 1 for one in wanted)
    if num_states > MAX_STATES or last > MAX_POSITIONS or len(wanted) > MAX_AT_ONCE:
        raise UnsupportedConstraint(
            "contains with such large bounds", pointer=pointer, keyword="contains"
        )
    lowering = _Containing(compiler, wanted, pointer, layout)
    choices = [lowering.choices(item) for item in [*first, rest][: last + 1]]
    comma = layout.comma
    counts = list(product(*(range(one.top, -1, -1) for one in wanted)))
    done = {held for held in counts if lowering.is_enough(held)}
    after: dict[Held, Expr] = {}
    for i in range(last, -1, -1):
        here = choices[min(i, len(choices) - 1)]
        pairs = [c._replace(text=seq(comma if i else EPSILON, c.text)) for c in here]
        following, after = after, {}
        for held in counts:
            end = EPSILON if i and i >= low and held in done else NOTHING
            if i < last:
                steps = [seq(text, following[now]) for text, now in lowering.steps(pairs, held)]
                after[held] = either([end, *steps])
            elif high is None:
                more = [(text, now) for text, now in lowering.steps(pairs, held)]
                again = times(either(text for text, now in more if now == held), 0, None)
                steps = [seq(text, after[now]) for text, now in more if now != held]
                after[held] = seq(again, either([end, *steps]))
            else:
                after[held] = end
    body = after[(0,) * len(wanted)]
    may_be_empty = low == 0 and all(one.least == 0 for one in wanted)
    if is_nothing(body) and not may_be_empty:
        return NOTHING
    return layout.container(b"[]", body, may_be_empty=may_be_empty)


class _Containing:
    def __init__(
        self, compiler: Compiler, wanted: Sequence[Wanted], pointer: str, layout: Layout
    ) -> None:
        self.compiler = compiler
        self.wanted = wanted
        self.where = child(pointer, "contains")
        self.inner = layout.inner()

    def choices(self, item: Any) -> list[_Choice]:
        """What an item may be, for each set of `contains` it is counted for."""
        both, found = self.compiler.both, []
        for counted in product((False, True), repeat=len(self.wanted)):
            whole = item
            for one, is_counted in zip(self.wanted, counted, strict=True):
                if is_counted:
                    whole = both(whole, one.schema)
                elif one.most is not None:
                    whole = both(whole, self.compiler.negation(one.schema, self.where))
            text = self.compiler.schema(whole, self.where, self.inner)
            if not is_nothing(text):
                found.append(_Choice(text, counted))
        return found

    def steps(self, choices: list[_Choice], held: Held) -> Iterator[tuple[Expr, Held]]:
        """Each item that may come next, and the counts after it."""
        for text, counted in choices:
            full = any(
                is_counted and have == one.top
                for one, have, is_counted in zip(self.wanted, held, counted, strict=True)
            )
            if not full:
                yield text, tuple(have + more for have, more in zip(held, counted, strict=True))

    def is_enough(self, held: Held) -> bool:
        return all(have >= one.least for one, have in zip(self.wanted, held, strict=True))
