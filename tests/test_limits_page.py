"""docs/limits.md says what the limits are, and all of the automaton's."""

from __future__ import annotations

import importlib
import re
from dataclasses import asdict
from pathlib import Path

from sestina.backend.grammar import Limits

PAGE = (Path(__file__).parents[1] / "docs/limits.md").read_text("utf-8")
ROWS = {name: int(value) for name, value in re.findall(r"^\| `([\w.]+)` \| (\d+) \|", PAGE, re.M)}


def test_the_limits_of_sources_are_as_the_page_says() -> None:
    listed = {name: value for name, value in ROWS.items() if "." in name}
    assert len(listed) > 20
    for name, value in listed.items():
        module, _, constant = name.rpartition(".")
        assert getattr(importlib.import_module(module), constant) == value, name


def test_the_limits_of_the_automaton_are_all_on_the_page() -> None:
    assert {name: value for name, value in ROWS.items() if "." not in name} == asdict(Limits())
