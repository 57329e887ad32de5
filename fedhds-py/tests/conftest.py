"""What all tests share: generated cases are the same in every run.

A run that found a case of its own would fail work that has nothing to do with it. ``HYPOTHESIS_PROFILE=search`` looks for new ones; a case
that it finds becomes a test of its own.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
