"""Settings for the whole suite.

Hypothesis draws the same examples on every run, so that a red run is red for everyone; set
HYPOTHESIS_PROFILE=explore to draw new ones. `make fuzz` has the profile "fuzz": new ones, 200 for
each property and of 50 steps each for state machines, 10,000 steps in all.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=200, stateful_step_count=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
