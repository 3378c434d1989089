"""Settings for the whole suite.

Hypothesis draws the same examples on every run, so that a red run is red for everyone; set
HYPOTHESIS_PROFILE=explore to draw new ones.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
