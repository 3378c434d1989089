"""From the text of a schema to its language and the report of what is enforced."""

from __future__ import annotations

import functools
from typing import NamedTuple

from sestina.lang import json_text
from sestina.lang.errors import ConstraintLimitExceeded, UnsupportedConstraint
from sestina.lang.grammar_ir import Grammar
from sestina.lang.json_schema import layout as layouts
from sestina.lang.json_schema.compiler import Compiler
from sestina.lang.json_schema.lenient import Place, drop_refused, places_in_source
from sestina.lang.json_schema.linking import Linker, needs_linking

MAX_REFUSED = 100


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
    refused: list[Place] = []
    while True:
        linker = Linker(document, known) if needs_linking(source, document, known) else None
        compiler = Compiler(document if linker is None else linker.document(), linker)
        try:
            grammar = compiler.compile(layout)
        except (UnsupportedConstraint, ConstraintLimitExceeded) as error:
            dropped = drop_refused(document, error) if lenient else []
            refused += dropped
            if not dropped or len(refused) > MAX_REFUSED:
                raise
        else:
            places = tuple(compiler.enforced), tuple(compiler.annotations)
            return Lowered(grammar, *places, places_in_source(refused))
