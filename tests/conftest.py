"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Generated examples are the same in every run, so that a change fails by what it does and not by chance; with HORNBEAM_SOAK
# each run looks at new ones. How long an example takes says nothing of it: others use the machine too.
settings.register_profile(
    "suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("soak" if os.environ.get("HORNBEAM_SOAK") else "suite")
