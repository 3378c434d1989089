"""Settings for the whole suite.

Hypothesis draws the same examples on every run, so that a red run is red for everyone; set
HYPOTHESIS_PROFILE=explore to draw new ones. `make fuzz` has the profile "fuzz": new ones, 200 for
each property and of 50 steps each for state machines, 10,000 steps in all.

Models come from the user's cache folder, but nothing is written to it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from sestina.backend.weights.fetch import cache_dir

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=200, stateful_step_count=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

CACHE = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """A cache folder of the run's own, also for the processes that tests start."""
    config.stash[CACHE] = folder = tempfile.TemporaryDirectory(prefix="sestina-tests-")
    Path(folder.name, "models").symlink_to(cache_dir() / "models")
    os.environ["SESTINA_CACHE"] = folder.name


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[CACHE].cleanup()
