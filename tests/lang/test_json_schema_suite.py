"""The official JSON-Schema-Test-Suite: no invalid instance may ever be accepted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.ir_matcher import accepts

from sestina.lang.constraint import json_schema
from sestina.lang.errors import ConstraintError

SUITE = Path(__file__).parents[3] / "shared/data/json-schema-test-suite/draft2020-12"


def suite_files() -> list[Path]:
    return sorted(SUITE.rglob("*.json"))


def spell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def run_case(case: dict[str, Any], counts: Counter[str]) -> list[str]:
    """Tests of one schema; returns the wrongly accepted ones."""
    try:
        grammar = json_schema(case["schema"]).to_grammar()
    except ConstraintError as error:
        counts[type(error).__name__] += 1
        return []
    counts["compiled"] += 1
    wrong = []
    for test in case["tests"]:
        if has_lone_surrogate(test["data"]):
            continue
        taken = accepts(grammar, spell(test["data"]))
        counts[f"{'valid' if test['valid'] else 'invalid'} {'taken' if taken else 'left'}"] += 1
        if taken and not test["valid"]:
            wrong.append(f"{case['description']}: {test['description']}: {spell(test['data'])}")
    return wrong


def has_lone_surrogate(value: Any) -> bool:
    try:
        spell(value).encode()
    except UnicodeEncodeError:
        return True
    return False


@pytest.mark.skipif(not SUITE.is_dir(), reason="the JSON-Schema-Test-Suite is not next to the repo")
@pytest.mark.parametrize("path", suite_files(), ids=lambda p: str(p.relative_to(SUITE)))
def test_no_invalid_instance_is_accepted(path: Path) -> None:
    counts: Counter[str] = Counter()
    cases = json.loads(path.read_text())
    assert [wrong for case in cases for wrong in run_case(case, counts)] == []
