"""Two packaging mistakes that would otherwise be silent: a sub-package left out of the build, and
a module loaded under its folder's name instead of the package's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FOLDERS = {"lang": "sestina.lang", "backend": "sestina.backend", "kernels": "sestina.kernels"}


def test_every_package_is_built() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = set(config["tool"]["setuptools"]["packages"])
    found = {"sestina", "sestina.cli"}
    for folder, package in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *parts)))
    assert listed == found


def test_nothing_is_imported_from_the_top_level_folders() -> None:
    """Asked at the root, where `import lang` would work; elsewhere it fails anyway."""
    code = "import sys, sestina.backend.engine, sestina.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = {name.split(".")[0] for name in done.stdout.split()}
    assert "sestina" in modules
    assert not modules & {"lang", "backend"}


def test_no_pickle_eval_or_remote_code_in_the_product() -> None:
    """Weights are data, requests are data: nothing in the product can turn either into code."""
    banned = (
        "import pickle",
        "import marshal",
        "torch.load(",
        "trust_remote_code",
        " eval(",
        "shelve",
    )
    files = [
        path for folder in (*FOLDERS, "src/sestina/cli") for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in files
        for word in banned
        if word in path.read_text("utf-8")
    ]
    assert not found
