"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# Where CI is set, generated examples are the same in every run, so that a failure there can be reproduced; elsewhere each
# run looks at new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
