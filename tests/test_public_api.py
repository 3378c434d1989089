"""The names a user imports: complete, sorted, lazy, and clear about what is not there."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
from pathlib import Path

import pytest

import sestina
from sestina.lang import errors

# Loaded without the language's own tests needing torch.
LIGHT = sorted(set(sestina.__all__) - {"Engine"})


def type_checking_names() -> set[str]:
    """What the `if TYPE_CHECKING` part of the front door declares."""
    tree = ast.parse(Path(inspect.getfile(sestina)).read_text(encoding="utf-8"))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imported = [n for n in block.body if isinstance(n, ast.ImportFrom)]
    return {alias.asname or "" for node in imported for alias in node.names} | {"__version__"}


def test_all_is_sorted_and_is_what_type_checkers_and_the_loader_know() -> None:
    assert sestina.__all__ == sorted(sestina.__all__)
    assert set(sestina.__all__) == type_checking_names()
    assert set(sestina.__all__) == {*sestina._HOME, "__version__"}
    assert set(sestina.__all__) <= set(dir(sestina))


@pytest.mark.parametrize("name", LIGHT)
def test_every_name_loads_and_is_documented(name: str) -> None:
    value = getattr(sestina, name)
    if callable(value):
        assert inspect.getdoc(value)


def test_every_error_is_public() -> None:
    names = {
        n
        for n, v in vars(errors).items()
        if isinstance(v, type) and v.__module__ == errors.__name__
    }
    assert names <= set(sestina.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert sestina.__version__ == importlib.metadata.version("sestina")


@pytest.mark.parametrize("name", sorted(sestina._ABSENT))
def test_names_of_sglang_that_are_missing_say_what_to_do(name: str) -> None:
    assert not hasattr(sestina, name)
    with pytest.raises(AttributeError, match=f"no '{name}': ") as raised:
        getattr(sestina, name)
    with pytest.raises(ImportError) as imported:
        exec(compile(f"from sestina import {name}", "user.py", "exec"))
    assert str(imported.value) == str(raised.value)


def test_unknown_names_fail_as_usual() -> None:
    with pytest.raises(AttributeError, match="no attribute 'generate_everything'"):
        _ = sestina.generate_everything
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        exec(compile("from sestina import nonsense", "user.py", "exec"))
