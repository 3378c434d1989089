"""FILE.py:NAME arguments: import the user's own file and take one object from it."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from sestina.cli.report import UsageError


def load_object(reference: str) -> object:
    """The object NAME of FILE.py; UsageError says what is missing.

    The file runs as `python FILE.py` would run it, its folder importable, but for
    `if __name__ == "__main__"`. What it raises is told with the lines of the file that led there.
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
        raise UsageError(f"{path} has no {name!r}; it defines: {_defined(module)}") from None
    return found


def _load_module(path: Path) -> ModuleType:
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # Not the bare stem: a user's json.py must not replace the standard library's.
    name = f"sestina_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pydantic look their module up by name to resolve annotations.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise UsageError(f"{path} cannot be loaded\n{_render(error, path)}") from error
    return module


def _render(error: Exception, path: Path) -> str:
    shown = users_traceback(error, str(path.resolve()))
    return shown or "".join(traceback.format_exception_only(error)).rstrip()


def users_traceback(error: BaseException, file: str) -> str | None:
    """The traceback from the first line of the user's `file` on, without frames of Sestina's own.

    None when the file has no part in it.
    """
    frames = list(traceback.extract_tb(error.__traceback__))
    first = next((i for i, frame in enumerate(frames) if frame.filename == file), None)
    if first is None:
        return None
    ours = ("<", *(f"{path}{os.sep}" for path in _package_folders()))  # "<": generated code
    kept = [frame for frame in frames[first:] if not frame.filename.startswith(ours)]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(kept)]
    return "".join([*lines, *traceback.format_exception_only(error)]).rstrip()


def _package_folders() -> list[str]:
    import sestina.lang

    return [str(Path(module.__file__ or "").parent) for module in (sestina, sestina.lang)]


def _defined(module: ModuleType) -> str:
    """The public names that the file itself defines, programs among them."""
    found = []
    for name, value in vars(module).items():
        home = getattr(getattr(value, "fn", value), "__module__", module.__name__)
        if home == module.__name__ and not name.startswith("_") and not inspect.ismodule(value):
            found.append(name)
    return ", ".join(sorted(found)) or "nothing"
