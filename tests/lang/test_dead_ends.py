"""A schema without rules of its own says at its start whether it allows anything."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sestina.lang import errors
from sestina.lang.grammar_check import is_productive, left_recursion
from sestina.lang.json_schema.compiler import Compiler
from sestina.lang.json_schema.layout import parse

NAMES = st.sampled_from(["a", "b"])
SMALL = st.integers(0, 2)


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "integer"]),
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "additionalProperties": inner,
            "required": st.lists(NAMES, unique=True, max_size=2),
            "maxProperties": SMALL,
            "minProperties": SMALL,
            "items": inner,
            "prefixItems": some,
            "minItems": SMALL,
            "maxItems": SMALL,
            "contains": inner,
            "minLength": SMALL,
            "maximum": SMALL,
            "multipleOf": st.sampled_from([1, 3]),
            "enum": st.lists(st.sampled_from([1, "a", None, []]), min_size=1, max_size=2),
            "allOf": some,
            "anyOf": some,
            "oneOf": some,
            "not": inner,
        },
    )


@settings(max_examples=50)
@given(st.recursive(st.booleans(), around, max_leaves=4), st.sampled_from(["declared", "any"]))
def test_what_is_not_refused_leads_somewhere(schema: Any, order: str) -> None:
    compiler = Compiler(schema, None)
    try:
        grammar = compiler.compile(parse("spaced", order))
    except errors.ConstraintError:
        return
    if not compiler.named:  # then that was not looked through
        assert left_recursion(grammar) is None
        assert is_productive(grammar)
