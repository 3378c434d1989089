"""Which sub-schemas apply at a place of an instance."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sestina.cli.schema_place import MAX_CANDIDATES, candidates


def by_search(pattern: str, name: str) -> bool | None:
    return re.search(pattern, name) is not None


def found(schema: Any, *path: str | int) -> dict[str, bool]:
    """Pointers of what applies, and whether that is certain."""
    return {each.pointer: each.is_certain for each in candidates(schema, path, by_search)}


@pytest.mark.parametrize(
    ("schema", "path", "expected"),
    [
        (True, (), {"": True}),
        ({"properties": {"a": {}}}, ("a",), {"/properties/a": True}),
        ({"properties": {"a": {}}}, ("b",), {}),
        (
            {"properties": {"a": {}}, "patternProperties": {"a": {}, "b": {}}},
            ("a",),
            {"/properties/a": True, "/patternProperties/a": True},
        ),
        (
            {"patternProperties": {"^x": {}}, "additionalProperties": False},
            ("y",),
            {"/additionalProperties": True},
        ),
        (
            {"patternProperties": {"^x": {}}, "additionalProperties": False},
            ("x/",),
            {"/patternProperties/^x": True},
        ),
        ({"unevaluatedProperties": False}, ("a",), {"/unevaluatedProperties": False}),
        ({"prefixItems": [{}], "items": {}}, (0,), {"/prefixItems/0": True}),
        ({"prefixItems": [{}], "items": {}}, (1,), {"/items": True}),
        ({"items": [{}], "additionalItems": {}}, (1,), {"/additionalItems": True}),
        ({"contains": {}}, (0,), {"/contains": False}),
        (
            {"allOf": [{"anyOf": [{"items": {}}]}, {"items": {}}]},
            (4,),
            {"/allOf/0/anyOf/0/items": False, "/allOf/1/items": True},
        ),
        (
            {"if": {"properties": {"a": {}}}, "else": {"properties": {"a": {}}}},
            ("a",),
            {"/if/properties/a": False, "/else/properties/a": False},
        ),
        (
            {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"properties": {"x": {}}}}},
            ("x",),
            {"/$defs/a~1b/properties/x": True},
        ),
        ({"$ref": "#here", "$defs": {"a": {"$anchor": "here"}}}, (), {"": True, "/$defs/a": True}),
        ({"$ref": "elsewhere.json"}, (), {"": True}),
        ({"$ref": "#/nowhere/0"}, (), {"": True}),
        # Reached both ways: what is certain wins.
        (
            {
                "anyOf": [{"$ref": "#/$defs/a"}],
                "allOf": [{"$ref": "#/$defs/a"}],
                "$defs": {"a": {}},
            },
            (),
            {"": True, "/allOf/0": True, "/$defs/a": True, "/anyOf/0": False},
        ),
    ],
)
def test_what_applies(schema: Any, path: tuple[str | int, ...], expected: dict[str, bool]) -> None:
    assert found(schema, *path) == expected


def test_recursion_ends() -> None:
    tree: dict[str, Any] = {
        "anyOf": [{"$ref": "#"}, {"properties": {"next": {"$ref": "#"}}}],
    }
    assert found(tree, *["next"] * 50) == {
        "/anyOf/1/properties/next": False,
        "": False,
        "/anyOf/0": False,
        "/anyOf/1": False,
    }


def test_a_wide_schema_is_cut() -> None:
    assert len(found({"anyOf": [{}] * 10_000})) == MAX_CANDIDATES


def test_a_pattern_that_cannot_be_decided_may_apply() -> None:
    schema = {"patternProperties": {"^x": {}}, "additionalProperties": {}}
    each = candidates(schema, ("a",), lambda pattern, name: None)
    assert {c.pointer: c.is_certain for c in each} == {
        "/patternProperties/^x": False,
        "/additionalProperties": False,
    }
