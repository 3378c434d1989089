"""Importing the front door, and the language behind it, costs no heavy package."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "transformers", "numba", "pydantic", "jinja2", "msgspec", "tqdm")


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_importing_sestina_loads_nothing_of_it() -> None:
    loaded = modules_after("import sestina; sestina.__version__; dir(sestina)")
    assert loaded.isdisjoint(HEAVY)
    assert not {name for name in loaded if name.startswith(("sestina.lang", "sestina.backend"))}


@pytest.mark.parametrize(
    "code",
    [
        "from sestina import function, gen, select, State, ProgramError, SamplingParams",
        "from sestina import function, gen, MockBackend\n"
        "f = function(lambda s: s.append('a' + gen('x', regex='a+')))\n"
        "assert f.run(backend=MockBackend()).text()",
    ],
)
def test_the_language_runs_without_the_backend_and_its_packages(code: str) -> None:
    loaded = modules_after(code)
    assert loaded.isdisjoint(HEAVY)
    assert not {name for name in loaded if name.startswith(("sestina.backend", "sestina.kernels"))}
