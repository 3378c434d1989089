"""Compiled code is kept on disk while no file of the core has changed, and only then; and what is
compiled without counting references has no arrays of its own."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from sestina.backend.grammar.core import compiled

SOURCE = """
from sestina.backend.grammar.core.compiled import jit

@jit
def doubled(x):
    return 2 * x
"""


def test_the_stamp_is_of_every_file_of_the_core() -> None:
    stamp = {name: (time, size) for name, time, size in compiled._stamp()}
    folder = Path(compiled.__file__).parent
    assert set(stamp) == {path.name for path in folder.glob("*.py")} | {"cpu.py"}
    stat = (folder / "derive.py").stat()
    assert stamp["derive.py"] == (stat.st_mtime_ns, stat.st_size)


def test_a_change_of_any_file_throws_compiled_code_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some_core_function.py"
    path.write_text(SOURCE)
    assert hits(load(path)) == 0  # compiled, and put on disk
    assert hits(load(path)) == 1
    changed = (*compiled._stamp()[:-1], ("cpu.py", 0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_stamp", lambda: changed)
        assert hits(load(path)) == 0
        assert hits(load(path)) == 1
    assert hits(load(path)) == 0


def load(path: Path) -> ModuleType:
    """A new process's view of the module, but for what is on disk."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hits(module: ModuleType) -> int:
    """Calls it, and tells how often compiled code was found."""
    assert module.doubled(21) == 42
    return sum(module.doubled.stats.cache_hits.values())


def test_functions_without_arrays_get_none_from_others() -> None:
    """Such an array would never be freed."""
    functions = [
        node
        for path in Path(compiled.__file__).parent.glob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    returns = {f.name: ast.unparse(f.returns) for f in functions if f.returns}
    of_arrays = re.compile("Words|Int32s|NDArray|list|set")
    plain = [f for f in functions if "jit" in map(ast.unparse, f.decorator_list)]
    called = {
        (function.name, call.func.id)
        for function in plain
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
    assert len(plain) > 100
    assert not {(f, g) for f, g in called if of_arrays.search(returns.get(g, ""))}
