"""What a worker knows of the run: written once by the coordinator, read by every worker when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hornbeam.runners.planner.plan import Plan


@attrs.frozen
class Job:
    """A run, as its workers see it."""

    plan: Plan
    options: Mapping[str, Any]
    folder: str
    bundle_size: int
    #: What each worker may hold, of --memory_limit.
    worker_bytes_max: int
    workers_max: int
    partitions: int
    compression: str = ""
