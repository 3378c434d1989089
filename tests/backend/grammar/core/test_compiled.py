"""Compiled code is kept on disk while no file of the core has changed, and only then."""

from __future__ import annotations

import importlib.util
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
