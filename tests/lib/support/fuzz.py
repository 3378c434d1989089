"""How long properties are tried: a little in every run, for long in `make fuzz`."""

from __future__ import annotations

from hypothesis import settings


def tries(max_examples: int, steps: int = 50) -> settings:
    """So many examples, of so many steps; under the profile "fuzz", as many as that says."""
    if settings.get_current_profile_name() == "fuzz":
        return settings()
    return settings(max_examples=max_examples, stateful_step_count=steps)
