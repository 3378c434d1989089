"""Machines for the core's tests."""

from __future__ import annotations

import pytest
from support.core import Core


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture(scope="session")
def shared_core() -> Core:
    """For properties with many examples: what one leaves behind must not matter to the next."""
    return Core()
