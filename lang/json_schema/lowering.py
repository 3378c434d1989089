"""From the text of a schema to its language and the report of what is enforced."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, NamedTuple

from sestina.lang import json_text
from sestina.lang.errors import (
    ConstraintError,
    ConstraintLimitExceeded,
    UnsupportedConstraint,
)
from sestina.lang.grammar_ir import Grammar
from sestina.lang.json_schema import layout as layouts
from sestina.lang.json_schema.compiler import Compiler
from sestina.lang.json_schema.fuel import Fuel
from sestina.lang.json_schema.layout import Layout
from sestina.lang.json_schema.lenient import Place, drop_refused, places_in_source
from sestina.lang.json_schema.linking import Linker, needs_linking

MAX_VALUES = 80_000
"""Values in a schema and the documents linked to it: 20 us each to compile, as a rule."""

MAX_REFUSED = 100
MAX_RECOMPILED = 200_000
"""Values compiled again in all, since each refused keyword begins another pass."""


class Report(NamedTuple):
    """Places in the schema, each as "pointer keyword"."""

    enforced: tuple[str, ...]
    annotations: tuple[str, ...]
    refused: tuple[str, ...]


class Lowered(NamedTuple):
    grammar: Grammar
    enforced: tuple[Place, ...]
    annotations: tuple[Place, ...]
    refused: tuple[Place, ...]

    def report(self) -> Report:
        return Report(*(tuple(f"{at or '/'} {k}" for at, k in places) for places in self[1:]))


@functools.lru_cache(maxsize=256)
def lower(
    source: str,
    whitespace: str = "spaced",
    property_order: str = "declared",
    registry: tuple[tuple[str, str], ...] = (),
    lenient: bool = False,
) -> Lowered:
    """The language of the schema in `source` (JSON text); raises a ConstraintError.

    registry: the documents that references may lead to, as pairs of URI and JSON text.
    lenient: whether keywords that cannot be enforced are dropped and listed as refused.
    """
    document, known = json_text.loads(source), dict(registry)
    layout = layouts.parse(whitespace, property_order)
    num_values = _num_values(document)
    refused: list[Place] = []
    while True:
        linker = Linker(document, known) if needs_linking(source, document, known) else None
        whole = document if linker is None else linker.document()
        if linker is not None:
            num_values = _num_values(whole)
        try:
            compiler, grammar = _compiled(whole, linker, layout)
        except (UnsupportedConstraint, ConstraintLimitExceeded) as error:
            dropped = drop_refused(document, error) if lenient else []
            refused += dropped
            if not dropped or len(refused) > min(MAX_REFUSED, MAX_RECOMPILED // num_values):
                raise
        else:
            places = tuple(compiler.enforced), tuple(compiler.annotations)
            return Lowered(grammar, *places, places_in_source(refused))


def _compiled(document: Any, linker: Linker | None, layout: Layout) -> tuple[Compiler, Grammar]:
    """The grammar and what made it; a narrower one where alternatives are too many.

    Branches of a oneOf that overlap multiply. Told apart by their required properties alone, as
    most are meant to be, they are few.
    """
    compiler = Compiler(document, linker)
    try:
        return compiler, compiler.compile(layout)
    except ConstraintLimitExceeded as error:
        if not compiler.has_overlaps:
            raise
        narrow = Compiler(document, linker, is_narrow=True)
        try:
            return narrow, narrow.compile(replace(layout, fuel=Fuel()))
        except ConstraintError:
            raise error from None


def _num_values(document: Any) -> int:
    """How many JSON values there are in a document; ConstraintLimitExceeded beyond MAX_VALUES."""
    found, todo = 0, [document]
    while todo:
        value = todo.pop()
        found += 1
        if isinstance(value, (dict, list)):
            todo += value.values() if isinstance(value, dict) else value
        if found + len(todo) > MAX_VALUES:
            raise ConstraintLimitExceeded(f"a schema of more than {MAX_VALUES} values", pointer="")
    return found
