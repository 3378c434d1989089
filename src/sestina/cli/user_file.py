"""FILE.py:NAME arguments: import the user's own file and take one object from it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from sestina.cli.report import UsageError


def load_object(reference: str) -> object:
    """The object NAME of FILE.py; UsageError says what is missing.

    The file runs as `python FILE.py` would run it, its folder importable, but for
    `if __name__ == "__main__"`. An exception it raises is passed on.
    """
    path_text, colon, name = reference.rpartition(":")
    if not colon or not name.isidentifier():
        raise UsageError(f"expected FILE.py:NAME, got {reference!r}")
    path = Path(path_text)
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    module = _load_module(path)
    try:
        found: object = getattr(module, name)
    except AttributeError:
        public = ", ".join(sorted(n for n in vars(module) if not n.startswith("_")))
        raise UsageError(f"{path} has no {name!r}; it defines: {public or 'nothing'}") from None
    return found


def _load_module(path: Path) -> ModuleType:
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # Not the bare stem: a user's json.py must not replace the standard library's.
    name = f"sestina_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pydantic look their module up by name to resolve annotations.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
