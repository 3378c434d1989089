"""Places in JSON texts, against a writer that notes where it put what."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sestina.cli.json_place import Place, locate, name_from

Path = tuple[str | int, ...]
NAMES = st.text(st.sampled_from('a"\\é{,:'), max_size=3)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


class Span(NamedTuple):
    """A scalar or a member name: text[start:end]; `names` are the object's members before it."""

    start: int
    end: int
    path: Path
    names: tuple[str, ...] | None = None


class Writer:
    def __init__(self, value: Any) -> None:
        self.text = ""
        self.spans: list[Span] = []
        self.write(value, ())

    def write(self, value: Any, path: Path) -> None:
        if isinstance(value, dict):
            self.text += "{"
            for i, (name, inner) in enumerate(value.items()):
                self.text += ", " if i else ""
                self.put(name, path, tuple(value)[:i])
                self.text += ": "
                self.write(inner, (*path, name))
            self.text += "}"
        elif isinstance(value, list):
            self.text += "["
            for i, inner in enumerate(value):
                self.text += ", " if i else ""
                self.write(inner, (*path, i))
            self.text += "]"
        else:
            self.put(value, path, None)

    def put(self, value: Any, path: Path, names: tuple[str, ...] | None) -> None:
        start = len(self.text)
        self.text += json.dumps(value, ensure_ascii=False)
        self.spans.append(Span(start, len(self.text), path, names))


@given(VALUES)
def test_a_cut_in_a_value_or_a_name(value: Any) -> None:
    written = Writer(value)
    assert json.loads(written.text) == value
    for span in written.spans:
        for cut in range(span.start, span.end):
            refused = written.text[cut]
            place = locate(written.text[:cut], refused, scalar_may_end=False)
            if span.names is None:
                assert (place.part, place.path) == ("value", span.path)
            else:
                assert place == Place(span.path, "name", span.names, span.start)
                whole = json.loads(written.text[span.start : span.end])
                assert name_from(written.text, place.begins) == whole


@pytest.mark.parametrize(
    ("before", "refused", "may_end", "path", "part"),
    [
        ('{"a": [1', "]", True, ("a",), "item"),
        ('{"a": [1', "]", False, ("a", 0), "value"),
        ('{"a": [1', "2", True, ("a", 0), "value"),
        ('{"a": [', "]", False, ("a",), "item"),
        ('{"a": 1, ', "}", False, (), "member"),
        ('{"a"', "x", False, (), "name"),
        ('{"a": "b"', "x", False, (), "member"),
        ('{"a": {}}', "x", False, (), "end"),
        ("", "x", False, (), "value"),
        ("1", "", True, (), "end"),
        ("1", "", False, (), "value"),
        ("tru", "x", False, (), "value"),
        ("[" * 50_000, "x", False, (0,) * 50_000, "value"),
    ],
)
def test_cuts_between(before: str, refused: str, may_end: bool, path: Path, part: str) -> None:
    place = locate(before, refused, scalar_may_end=may_end)
    assert (place.path, place.part) == (path, part)


def test_pointers_escape() -> None:
    assert Place(("a/b", "~", 3), "value").pointer == "/a~1b/~0/3"
