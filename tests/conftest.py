"""Hypothesis profiles: `dev` is quick, `ci` always tries the same examples, `thorough` looks long."""

import os

from hypothesis import HealthCheck, settings

# On a busy machine an example may take long for no fault of its own.
_QUIET = [HealthCheck.too_slow]

settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=_QUIET)
settings.register_profile(
    "ci", max_examples=100, deadline=None, suppress_health_check=_QUIET, derandomize=True, print_blob=True
)
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
