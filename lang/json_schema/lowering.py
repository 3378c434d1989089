"""From the text of a schema to its language and the report of what is enforced."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from sestina.lang.kept import kept

MAX_VALUES = 80_000
"""Values in a schema and the documents linked to it: 20 us each to compile, as a rule."""

MAX_REFUSED = 100
MAX_RECOMPILED = 200_000
"""Values compiled again in all, since each refused keyword begins another pass."""

MAX_KEPT_NODES = 30_000
"""Of the grammars that are remembered."""

NODES_PER_VALUE = 10
NODES_PER_RULE = 20


class Report(NamedTuple):
    """Places in the schema, each as "pointer keyword", the root's pointer being "/"."""

    enforced: tuple[str, ...]
    annotations: tuple[str, ...]
    refused: tuple[str, ...]


class Lowered(NamedTuple):
    """size: about how many nodes of the IR the grammar has."""

    grammar: Grammar
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """A schema as JSON text, and how it is to be read.

    registry: the documents that references may lead to, as pairs of URI and JSON text.
    lenient: whether keywords that cannot be enforced are dropped and listed as refused.
    """

    text: str
    whitespace: str = "spaced"
    property_order: str = "declared"
    registry: tuple[tuple[str, str], ...] = ()
    lenient: bool = False


@kept(MAX_KEPT_NODES, lambda lowered: lowered.size)
def lower(source: Source) -> Lowered:
    """The language of a schema; raises a ConstraintError."""
    grammar, compiler, _ = _lowered(source, takes_notes=False)
    size = NODES_PER_VALUE * (len(compiler.contents.given) + len(compiler.lowered))
    return Lowered(grammar, size + NODES_PER_RULE * len(grammar.rules))


def report(source: Source) -> Report:
    """What becomes of each keyword. Costs as much as lowering the schema."""
    _, compiler, refused = _lowered(source, takes_notes=True)
    left_out = tuple(f"{at or '/'} {keyword}" for at, keyword in places_in_source(refused))
    return Report(tuple(compiler.enforced), tuple(compiler.annotations), left_out)


def _lowered(source: Source, *, takes_notes: bool) -> tuple[Grammar, Compiler, list[Place]]:
    """The grammar, what made it, and what was dropped."""
    document, known = json_text.loads(source.text), dict(source.registry)
    layout = layouts.parse(source.whitespace, source.property_order)
    num_values = _num_values(document)
    refused: list[Place] = []
    while True:
        linker = Linker(document, known) if needs_linking(source.text, document, known) else None
        whole = document if linker is None else linker.document()
        if linker is not None:
            num_values = _num_values(whole)
        try:
            return *_compiled(whole, linker, layout, takes_notes), refused
        except (UnsupportedConstraint, ConstraintLimitExceeded) as error:
            dropped = drop_refused(document, error) if source.lenient else []
            refused += dropped
            if not dropped or len(refused) > min(MAX_REFUSED, MAX_RECOMPILED // num_values):
                raise


def _compiled(
    document: Any, linker: Linker | None, layout: Layout, takes_notes: bool
) -> tuple[Grammar, Compiler]:
    """The grammar and what made it; a narrower one where alternatives are too many.

    Branches of a oneOf that overlap multiply. Told apart by their required properties alone, as
    most are meant to be, they are few.
    """
    compiler = Compiler(document, linker, takes_notes=takes_notes)
    try:
        return compiler.compile(layout), compiler
    except ConstraintLimitExceeded as error:
        if not compiler.has_overlaps:
            raise
        narrow = Compiler(document, linker, takes_notes=takes_notes, is_narrow=True)
        try:
            return narrow.compile(replace(layout, fuel=Fuel())), narrow
        except ConstraintError:
            raise error from None


def _num_values(document: Any) -> int:
    """How many JSON values there are in a document; ConstraintLimitExceeded beyond MAX_VALUES."""
    found, todo = 1, [document] if isinstance(document, (dict, list)) else []
    while todo:
        container = todo.pop()
        values = container.values() if isinstance(container, dict) else container
        found += len(values)
        todo += [value for value in values if isinstance(value, (dict, list))]
        if found > MAX_VALUES:
            raise ConstraintLimitExceeded(f"a schema of more than {MAX_VALUES} values", pointer="")
    return found
